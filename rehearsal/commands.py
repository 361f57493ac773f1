"""Commands that run to their end, are stopped with the rehearsal, and are heard only on failure."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.processes import terminate
from rehearsal.failure import Failed

LAST_LINES = 25
"""What is kept of the output of a command that failed."""


async def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    purpose: str,
) -> str:
    """Its standard output. Raises ``Failed``: `purpose` did not work, with the last lines."""
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
        raise Failed(
            f"{purpose} failed ({_how(process.returncode)}).",
            details=tuple([line for line in lines if line.strip()][-LAST_LINES:]),
        )
    return output.decode(errors="replace")


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
