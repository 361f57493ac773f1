"""Running external commands. Their output is shown only if they fail."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.processes import terminate
from rehearsal.failure import RehearsalFailed

MAX_LINES = 25
"""Lines of output that are kept of a failed command."""


async def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    purpose: str,
) -> str:
    """Run a command to its end and return its standard output. Canceling ends the command.

    Raises ``RehearsalFailed`` with `purpose` and the last lines of output if the command fails.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=environment,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = await process.communicate()
    finally:
        await terminate(process)
    if process.returncode != 0:
        lines = (output + b"\n" + errors).decode(errors="replace").splitlines()
        raise RehearsalFailed(
            f"{purpose} failed ({_describe(process.returncode)}).",
            details=tuple([line for line in lines if line.strip()][-MAX_LINES:]),
        )
    return output.decode(errors="replace")


def _describe(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
