"""API keys, made by the operator's own tool on the deployed secret."""

import asyncio
import json
import sys
from collections.abc import Mapping
from http import HTTPStatus

from local.rehearsal import commands
from local.rehearsal.failure import Failed
from local.rehearsal.stage import Stage
from taskctl.api_client import ApiClient

REFRESHED_WITHIN_S = 60
"""The promise: a key is known within a minute."""
IN_A_ROW = 12
"""Answers, to have met every process of every container."""


async def create(stage: Stage, environment: Mapping[str, str], *, which: str) -> ApiClient:
    """A client with a key of its own."""
    async with stage.proof(f"taskctl makes {which} key on the deployed secret"):
        created = await commands.run(
            (
                *(sys.executable, "-m", "taskctl", "keys", "create", "--client", "rehearsal"),
                *("--environment", stage.deployment.environment_name, "--json"),
            ),
            environment=environment,
            purpose="taskctl keys create",
        )
        key = json.loads(created)["key"]
        return ApiClient(stage.balancer.url, key=key, ca_file=stage.ca_file)


async def known_without_restart(stage: Stage, api: ApiClient) -> None:
    """A key that was made while the API ran is known to all of it."""
    async with stage.proof("A key that was made meanwhile is known to every process of the API"):
        accepted = 0
        try:
            async with asyncio.timeout(REFRESHED_WITHIN_S):
                while accepted < IN_A_ROW:
                    answer = await asyncio.to_thread(api.get, "/operations")
                    accepted = accepted + 1 if answer.status == HTTPStatus.OK else 0
                    if not accepted:
                        await asyncio.sleep(0.5)
        except TimeoutError:
            raise Failed(
                f"It is not known after {REFRESHED_WITHIN_S} s: {answer.problem}"
            ) from None
