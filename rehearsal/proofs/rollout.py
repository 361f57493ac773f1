"""A rolling deployment of the API under load: no request fails."""

import asyncio
import itertools
from contextlib import suppress
from http import HTTPStatus

from urllib3.exceptions import HTTPError

from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

CLIENTS = 4
PAUSE_S = 0.02
"""Pause of a client between two requests."""
REQUESTS_PER_SUBMISSION = 40
"""One request in this many is a submission; the others read a task."""
LOAD_BEFORE_AND_AFTER_S = 2.0
"""How long the load runs before and after the deployment."""

CHANGED_SETTING = {"api_graceful_timeout_s": "24"}
"""Changes the API's task definition but not its behavior under load."""


class _Load:
    """Sends requests and counts failures."""

    def __init__(self, context: ProofContext, tasks: TaskClient) -> None:
        self.requests = 0
        self.failures: list[str] = []
        self.task_ids: list[str] = []
        self._context = context
        self._api = tasks.api

    async def run(self) -> None:
        """Run until canceled."""
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._run_client())

    async def _run_client(self) -> None:
        for number in itertools.count():
            if number % REQUESTS_PER_SUBMISSION == 0 or not self.task_ids:
                await self._send("POST", "/tasks", {"inputImageUrl": self._context.images.url()})
            else:
                await self._send("GET", f"/tasks/{self.task_ids[-1]}")
            await asyncio.sleep(PAUSE_S)

    async def _send(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        request = f"{method} {path.partition('/tasks/')[1] or path}"
        self.requests += 1
        try:
            response = await asyncio.to_thread(self._api.request, method, path, body=body)
        except HTTPError as error:
            self.failures.append(f"{request}: {error}")
            return
        if response.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            self.failures.append(f"{request}: {response.status} {response.problem}")
        elif response.status == HTTPStatus.CREATED:
            self.task_ids.append(str(response.body["taskId"]))


async def rollout(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("No request fails during a rolling deployment") as notes:
        definition_before = context.api.task_definition_arn
        load = _Load(context, tasks)
        running = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(LOAD_BEFORE_AND_AFTER_S)
            await context.deployment.update(**CHANGED_SETTING)
            api = context.api
            if api.task_definition_arn == definition_before:
                raise RehearsalFailed(f"{CHANGED_SETTING} did not change the API's definition.")
            await context.control_plane.wait_until_steady(api)
            await asyncio.sleep(LOAD_BEFORE_AND_AFTER_S)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        context.report.figures.requestsDuringRollout = load.requests
        context.report.figures.failedDuringRollout = len(load.failures)
        if load.failures:
            raise RehearsalFailed(
                f"{len(load.failures)} of {load.requests} requests failed during a rollout.",
                details=tuple(sorted(set(load.failures))[:10]),
            )
        notes.append(f"{load.requests} requests.")
        await tasks.wait_until_completed(load.task_ids)
        context.report.figures.tasksCompleted += len(load.task_ids)
