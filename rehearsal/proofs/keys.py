"""API keys, made by the operator's own tool on the deployed secret."""

import asyncio
import json
import sys
from collections.abc import Mapping
from http import HTTPStatus

from rehearsal import commands
from rehearsal.failure import Failed
from rehearsal.proof_context import ProofContext
from taskfleet.api_client import ApiClient

REFRESHED_WITHIN_S = 60
"""The promise: a key is known within a minute."""
IN_A_ROW = 12
"""Answers, to have met every process of every container."""


async def create(context: ProofContext, environment: Mapping[str, str], *, which: str) -> ApiClient:
    """A client with a key of its own."""
    async with context.proof(f"taskctl makes {which} key on the deployed secret"):
        created = await commands.run(
            (
                *(sys.executable, "-m", "taskctl", "keys", "create", "--client", "rehearsal"),
                *("--environment", context.deployment.environment_name, "--json"),
            ),
            environment=environment,
            purpose="taskctl keys create",
        )
        key = json.loads(created)["key"]
        return ApiClient(context.balancer.url, key=key, ca_file=context.ca_file)


async def known_without_restart(context: ProofContext, api: ApiClient) -> None:
    """A key that was made while the API ran is known to all of it."""
    async with context.proof("A key that was made meanwhile is known to every process of the API"):
        accepted = 0
        try:
            async with asyncio.timeout(REFRESHED_WITHIN_S):
                while accepted < IN_A_ROW:
                    answer = await asyncio.to_thread(api.request, "GET", "/operations")
                    accepted = accepted + 1 if answer.status == HTTPStatus.OK else 0
                    if not accepted:
                        await asyncio.sleep(0.5)
        except TimeoutError:
            raise Failed(
                f"It is not known after {REFRESHED_WITHIN_S} s: {answer.problem}"
            ) from None
