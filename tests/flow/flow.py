"""The system under test as its user and its operator see it, from outside."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from services.common.task_queue import Backlog, TaskQueue
from taskfleet.api_client import Response, Task, is_final
from testbed.endpoints import LoopbackClients
from testbed.fleet import Fleet
from testbed.waiting import wait_until


class Flow:
    """One deployment: its processes, its API, and what its queues and bucket hold."""

    def __init__(self, fleet: Fleet, clients: LoopbackClients) -> None:
        self.fleet = fleet
        self.client = fleet.client()
        self._resources = fleet.provisioned.resources
        self._clients = clients

    # ── As the user ───────────────────────────────────────────────────────────────────────────

    def submit(self, url: str, *, request_id: str | None = None, **submission: Any) -> str:
        """The id of a task that was acknowledged."""
        answer = self.client.submit({"inputImageUrl": url, **submission}, request_id=request_id)
        assert answer.status in {201, 202}, answer
        task_id: str = answer.body["taskId"]
        return task_id

    def task(self, task_id: str) -> Task:
        answer: Response = self.client.get_task(task_id)
        assert answer.status == 200, answer
        task: Task = answer.body
        return task

    def when(self, task_id: str, true_of: Callable[[Task], bool], what: str) -> Task:
        def look() -> Task | None:
            task = self.task(task_id)
            return task if true_of(task) else None

        return wait_until(look, f"{what}: {task_id}")

    def when_over(self, task_id: str) -> Task:
        return self.when(task_id, is_final, "the task is over")

    def result(self, task: Task) -> bytes:
        """What the presigned URL serves, held against what the task says of it."""
        answer = self.client.download(task["resultUrl"])
        assert answer.status == 200, answer.data
        assert answer.headers["Content-Type"] == task["result"]["contentType"]
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert hashlib.sha256(answer.data).hexdigest() == task["result"]["sha256"]
        return answer.data

    def image(self, task: Task) -> Image.Image:
        image = Image.open(io.BytesIO(self.result(task)))
        image.load()
        return image

    # ── As the operator ───────────────────────────────────────────────────────────────────────

    def stored_results(self, task_id: str) -> Sequence[str]:
        """Keys of the results of all attempts that got as far."""
        answer = self._clients.s3.list_objects_v2(
            Bucket=self._resources.result_bucket, Prefix=f"results/{task_id}/"
        )
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def rows(self) -> int:
        """In the table, of tasks."""
        answer = self._clients.dynamodb.scan(
            TableName=self._resources.task_table,
            FilterExpression="attribute_exists(createdAt)",
            Select="COUNT",
        )
        return answer["Count"]

    def queued(self) -> Backlog:
        return self._backlog_of(self._resources.task_queue_url)

    def messages(self) -> int:
        """In the queue, in any state.

        Looked at twice: one look counts the visible first and then those in flight, and misses a
        message whose time out of sight ends between the two.
        """
        return max(_all(self.queued()) for _ in range(2))

    def dead_letters(self) -> int:
        return _all(self._backlog_of(self._resources.dead_letter_queue_url))

    def when_queue_is_empty(self) -> None:
        wait_until(lambda: self.messages() == 0, "no message is left")

    def _backlog_of(self, url: str) -> Backlog:
        return TaskQueue(self._clients.sqs, url=url).backlog()


def _all(backlog: Backlog) -> int:
    return backlog.visible + backlog.in_flight + backlog.delayed
