"""The command line of Docker, which the CDK uses too."""

import asyncio
from collections.abc import Mapping

from local.processes import terminate
from rehearsal import commands

NOT_FOUND = 127
"""The exit code with which a shell says that there is no such command."""


class DockerCli:
    """`environment` is where it finds the engine, and its own settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(self, *arguments: str, purpose: str) -> str:
        """Its standard output; raises ``Failed`` when it does not succeed."""
        return await commands.run(
            ("docker", *arguments), environment=self._environment, purpose=purpose
        )

    async def attempt(self, *arguments: str) -> tuple[int, str]:
        """Its exit code, and what it printed, whichever that is."""
        try:
            process = await asyncio.create_subprocess_exec(
                *("docker", *arguments),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError:
            return NOT_FOUND, ""
        try:
            output, _ = await process.communicate()
        finally:
            await terminate(process)
        return process.returncode or 0, output.decode(errors="replace").strip()

    async def attach(self, *arguments: str, log: int) -> asyncio.subprocess.Process:
        """Start it, with the file descriptor `log` for its output."""
        return await asyncio.create_subprocess_exec(
            *("docker", *arguments),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
