"""API keys, created with ``taskctl`` in the deployed secret."""

import asyncio
import json
import sys
from collections.abc import Mapping
from http import HTTPStatus

from rehearsal import commands
from rehearsal.failure import RehearsalFailed
from rehearsal.proof_context import ProofContext
from taskfleet.api_client import ApiClient

KEY_REFRESH_TIMEOUT_S = 60
"""The API promises to accept a new key within a minute."""
CONSECUTIVE_SUCCESSES = 12
"""Enough requests to reach every process of every container."""


async def create_key(
    context: ProofContext, environment: Mapping[str, str], *, which: str
) -> ApiClient:
    """Create a key and return a client that uses it."""
    async with context.proof(f"taskctl creates the {which} key in the deployed secret"):
        output = await commands.run(
            (
                *(sys.executable, "-m", "taskctl", "keys", "create", "--client", "rehearsal"),
                *("--environment", context.deployment.environment_name, "--json"),
            ),
            environment=environment,
            purpose="taskctl keys create",
        )
        key = json.loads(output)["key"]
        return ApiClient(context.balancer.url, key=key, ca_file=context.ca_file)


async def accepted_without_restart(context: ProofContext, api: ApiClient) -> None:
    """Check that the running API accepts a key that was created after its start."""
    async with context.proof("Every process of the API accepts a key that was created meanwhile"):
        successes = 0
        try:
            async with asyncio.timeout(KEY_REFRESH_TIMEOUT_S):
                while successes < CONSECUTIVE_SUCCESSES:
                    response = await asyncio.to_thread(api.request, "GET", "/operations")
                    successes = successes + 1 if response.status == HTTPStatus.OK else 0
                    if not successes:
                        await asyncio.sleep(0.5)
        except TimeoutError:
            raise RehearsalFailed(
                f"The key is not accepted after {KEY_REFRESH_TIMEOUT_S} s: {response.problem}"
            ) from None
