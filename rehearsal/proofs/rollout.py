"""A new version of the API, deployed under load: nobody notices."""

import asyncio
import itertools
from contextlib import suppress
from http import HTTPStatus

from urllib3.exceptions import HTTPError

from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from rehearsal.task_client import TaskClient

CLIENTS = 4
PAUSE_S = 0.02
"""Of a client between two requests."""
SUBMIT_EVERY = 40
"""One request in so many is a submission."""
AROUND_S = 2.0
"""Load before and after."""

CHANGED = {"api_graceful_timeout_s": "24"}
"""A setting that changes the API's task definition and nothing that it does."""


class _Load:
    """What clients met, while it ran."""

    def __init__(self, context: ProofContext, tasks: TaskClient) -> None:
        self.requests = 0
        self.failures: list[str] = []
        self.task_ids: list[str] = []
        self._context = context
        self._api = tasks.api

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._client())

    async def _client(self) -> None:
        for number in itertools.count():
            if number % SUBMIT_EVERY == 0 or not self.task_ids:
                await self._ask("POST", "/tasks", {"inputImageUrl": self._context.images.url()})
            else:
                await self._ask("GET", f"/tasks/{self.task_ids[-1]}")
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        request = f"{method} {path.partition('/tasks/')[1] or path}"
        self.requests += 1
        try:
            answer = await asyncio.to_thread(self._api.request, method, path, body=body)
        except HTTPError as error:
            self.failures.append(f"{request}: {error}")
            return
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            self.failures.append(f"{request}: {answer.status} {answer.problem}")
        elif answer.status == HTTPStatus.CREATED:
            self.task_ids.append(str(answer.body["taskId"]))


async def rollout(context: ProofContext, tasks: TaskClient) -> None:
    async with context.proof("A rolling deployment under load") as told:
        before = context.api.task_definition_arn
        load = _Load(context, tasks)
        running = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(AROUND_S)
            await context.deployment.update(**CHANGED)
            api = context.api
            if api.task_definition_arn == before:
                raise Failed(f"{CHANGED} has not changed the API's task definition.")
            await context.player.steady(api)
            await asyncio.sleep(AROUND_S)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        context.report.figures.requestsDuringRollout = load.requests
        context.report.figures.failedDuringRollout = len(load.failures)
        if load.failures:
            raise Failed(
                f"{len(load.failures)} of {load.requests} requests failed during a rollout.",
                details=tuple(sorted(set(load.failures))[:10]),
            )
        told.append(f"{load.requests} requests, none failed.")
        await tasks.completed(load.task_ids)
        context.report.figures.tasksCompleted += len(load.task_ids)
