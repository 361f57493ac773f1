"""Submits tasks as a client of the API does, and waits for their results."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from urllib3.exceptions import HTTPError

from rehearsal.failure import RehearsalFailed
from taskfleet.api_client import ApiClient, Response, TaskBody, is_final

POLL_INTERVAL_S = 0.1
TASK_TIMEOUT_S = 60
"""Includes the start of a worker and one retry."""


class TaskClient:
    """Every method raises ``RehearsalFailed`` if the API responds with an unexpected status."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api

    async def submit(
        self, url: str, *, expected: HTTPStatus = HTTPStatus.CREATED, **submission: Any
    ) -> str:
        """Submit an image and return the ID of its task. `submission` adds further fields."""
        body = {"inputImageUrl": url, **submission}
        response = await self._call("POST /tasks", lambda: self.api.submit(body), expected)
        return str(response.body["taskId"])

    async def get(self, task_id: str) -> TaskBody:
        response = await self._call(f"GET /tasks/{task_id}", lambda: self.api.get_task(task_id))
        return response.body

    async def cancel(self, task_id: str) -> None:
        await self._call(f"POST /tasks/{task_id}/cancel", lambda: self.api.cancel(task_id))

    async def retry(self, task_id: str) -> None:
        await self._call(f"POST /tasks/{task_id}/retry", lambda: self.api.retry(task_id))

    async def wait_until_final(self, task_id: str, *, expected: str) -> TaskBody:
        """Wait until the task is final and return it. Its status must be `expected`."""
        task = await self.get(task_id)
        try:
            async with asyncio.timeout(TASK_TIMEOUT_S):
                while not is_final(task):
                    await asyncio.sleep(POLL_INTERVAL_S)
                    task = await self.get(task_id)
        except TimeoutError:
            message = f"{_describe(task)} after {TASK_TIMEOUT_S} s, not {expected}."
            raise RehearsalFailed(message) from None
        if task["status"] != expected:
            raise RehearsalFailed(f"{_describe(task)}, not {expected}.")
        return task

    async def wait_until_completed(self, task_ids: list[str]) -> None:
        """Wait until every task is COMPLETED."""
        for task_id in task_ids:
            await self.wait_until_final(task_id, expected="COMPLETED")

    async def _call(
        self, request: str, send: Callable[[], Response], expected: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        try:
            response = await asyncio.to_thread(send)
        except HTTPError as error:
            raise RehearsalFailed(f"{request} got no response: {error}") from error
        if response.status != expected:
            raise RehearsalFailed(
                f"{request} returned {response.status}, not {expected}: {response.problem}"
            )
        return response


def _describe(task: TaskBody) -> str:
    code, reason = task.get("failureCode"), task.get("failureReason")
    failure = f" ({code}: {reason})" if code else ""
    return f"Task {task['taskId']} is {task['status']}{failure} at attempt {task['attempt']}"
