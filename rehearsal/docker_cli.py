"""The Docker command line."""

import asyncio
from collections.abc import Mapping

from local.processes import terminate
from rehearsal import commands

NOT_FOUND = 127
"""The exit code of a shell for a command that does not exist (POSIX, "Shell Command Language")."""


class DockerCli:
    """`environment` says how to find the engine (``DOCKER_HOST``) and the command (``PATH``)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(self, *arguments: str, purpose: str) -> str:
        """Return the standard output. Raises ``RehearsalFailed`` if the command fails."""
        return await commands.run(
            ("docker", *arguments), environment=self._environment, purpose=purpose
        )

    async def attempt(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the output, whether the command fails or not."""
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
        """Start the command. Its output goes to the file descriptor `log`."""
        return await asyncio.create_subprocess_exec(
            *("docker", *arguments),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
