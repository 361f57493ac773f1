"""The system under test, as its users and operators see it."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from services.common.task_queue import Backlog, TaskQueue
from services.common.task_record import from_item
from taskfleet.api_client import Response, TaskBody, is_final
from testbed.endpoints import LoopbackClients
from testbed.fleet import Fleet
from testbed.waiting import wait_until


class DeployedSystem:
    """One deployment: its processes, its API, and the content of its queues and bucket."""

    def __init__(self, fleet: Fleet, clients: LoopbackClients) -> None:
        self.fleet = fleet
        self.client = fleet.client()
        self._resources = fleet.provisioned.resources
        self._clients = clients

    # ── What a user sees ──────────────────────────────────────────────────────────────────────

    def submit(self, url: str, *, request_id: str | None = None, **submission: Any) -> str:
        """Submit an image and return the ID of its task."""
        response = self.client.submit({"inputImageUrl": url, **submission}, request_id=request_id)
        assert response.status in {201, 202}, response
        task_id: str = response.body["taskId"]
        return task_id

    def task(self, task_id: str) -> TaskBody:
        response: Response = self.client.get_task(task_id)
        assert response.status == 200, response
        task: TaskBody = response.body
        return task

    def wait_for_task(
        self, task_id: str, condition: Callable[[TaskBody], bool], description: str
    ) -> TaskBody:
        def matching_task() -> TaskBody | None:
            task = self.task(task_id)
            return task if condition(task) else None

        return wait_until(matching_task, f"{description}: {task_id}")

    def wait_until_final(self, task_id: str) -> TaskBody:
        return self.wait_for_task(task_id, is_final, "the task is final")

    def download_result(self, task: TaskBody) -> bytes:
        """Download the result of a completed task and compare it with the task's description."""
        response = self.client.download(task["resultUrl"])
        assert response.status == 200, response.data
        assert response.headers["Content-Type"] == task["result"]["contentType"]
        assert response.headers["Content-Disposition"].startswith("attachment; ")
        assert hashlib.sha256(response.data).hexdigest() == task["result"]["sha256"]
        return response.data

    def result_image(self, task: TaskBody) -> Image.Image:
        image = Image.open(io.BytesIO(self.download_result(task)))
        image.load()
        return image

    # ── What an operator sees ─────────────────────────────────────────────────────────────────

    def stored_results(self, task_id: str) -> Sequence[str]:
        """The keys of all stored results, one per attempt that got that far."""
        page = self._clients.s3.list_objects_v2(
            Bucket=self._resources.result_bucket, Prefix=f"results/{task_id}/"
        )
        return [entry["Key"] for entry in page.get("Contents", ())]

    def source_failures(self, task_id: str) -> int:
        """How many failures of its source the row of a task counts."""
        row = self._clients.dynamodb.get_item(
            TableName=self._resources.task_table, Key={"taskId": {"S": task_id}}
        )["Item"]
        return from_item(row).source_failures

    def row_count(self) -> int:
        """The number of tasks in the table."""
        page = self._clients.dynamodb.scan(
            TableName=self._resources.task_table,
            FilterExpression="attribute_exists(createdAt)",
            Select="COUNT",
        )
        return page["Count"]

    def backlog(self) -> Backlog:
        return self._backlog_of(self._resources.task_queue_url)

    def message_count(self) -> int:
        """The number of messages in the queue, in any state.

        This is the larger of two counts. A single count reads the visible messages first and then
        those in flight, and misses a message whose visibility timeout ends in between.
        """
        return max(_total(self.backlog()) for _ in range(2))

    def dead_letter_count(self) -> int:
        return _total(self._backlog_of(self._resources.dead_letter_queue_url))

    def wait_until_queue_is_empty(self) -> None:
        wait_until(lambda: self.message_count() == 0, "the queue is empty")

    def _backlog_of(self, url: str) -> Backlog:
        return TaskQueue(self._clients.sqs, url=url).backlog()


def _total(backlog: Backlog) -> int:
    return backlog.visible + backlog.in_flight + backlog.delayed
