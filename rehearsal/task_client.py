"""Tasks as a client of the API hands them in and follows them."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from urllib3.exceptions import HTTPError

from rehearsal.failure import Failed
from taskfleet.api_client import ApiClient, Response

POLL_S = 0.1
OVER_WITHIN_S = 60
"""A start of a worker and a retry included."""


class TaskClient:
    """Raises ``Failed`` where the API answers otherwise than it must."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api

    async def submit(
        self, url: str, *, expected: HTTPStatus = HTTPStatus.CREATED, **more: Any
    ) -> str:
        """Hand in an image; returns the id of its task."""
        answer = await self._ask("POST", "/tasks", {"inputImageUrl": url, **more})
        if answer.status != expected:
            raise Failed(f"POST /tasks answers {answer.status}, not {expected}: {answer.problem}")
        return str(answer.body["taskId"])

    async def act(self, task_id: str, action: str) -> None:
        """``cancel`` or ``retry``."""
        answer = await self._ask("POST", f"/tasks/{task_id}/{action}")
        if answer.status != HTTPStatus.OK:
            raise Failed(f"POST /tasks/…/{action} answers {answer.status}: {answer.problem}")

    async def look(self, task_id: str) -> Mapping[str, Any]:
        answer = await self._ask("GET", f"/tasks/{task_id}")
        if answer.status != HTTPStatus.OK:
            raise Failed(f"GET /tasks/… answers {answer.status}: {answer.problem}")
        return answer.body

    async def over(self, task_id: str, *, status: str) -> Mapping[str, Any]:
        """Wait until the task is over, as `status`; returns it."""
        try:
            async with asyncio.timeout(OVER_WITHIN_S):
                while True:
                    task = await self.look(task_id)
                    terminal = task["status"] in {"COMPLETED", "CANCELED"} or (
                        task["status"] == "FAILED" and not task["willRetry"]
                    )
                    if terminal:
                        break
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Failed(f"After {OVER_WITHIN_S} s {_told(task)}, not {status}.") from None
        if task["status"] != status:
            raise Failed(f"{_told(task)}, not {status}.")
        return task

    async def completed(self, task_ids: list[str]) -> None:
        """Wait until all are COMPLETED."""
        for task_id in task_ids:
            await self.over(task_id, status="COMPLETED")

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Response:
        try:
            return await asyncio.to_thread(self.api.request, method, path, body=body)
        except HTTPError as error:
            raise Failed(f"{method} {path} gets no answer: {error}") from error


def _told(task: Mapping[str, Any]) -> str:
    code, reason = task.get("failureCode"), task.get("failureReason")
    why = f" ({code}: {reason})" if code else ""
    return f"Task {task['taskId']} is {task['status']}{why} at attempt {task['attempt']}"
