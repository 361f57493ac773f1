"""Child processes that leave nothing behind: each in a process group that ends with it."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from local.terminal import Terminal

GRACE_S = 3.0
"""From SIGTERM to SIGKILL."""
LONGEST_LINE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Program:
    """`name` is the prefix of its lines; `environment` is all that it gets."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class ProgramEnded(Exception):
    """One that was meant to run for ever has ended by itself."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"The {name} ended by itself ({_meaning(exit_code)}).")


async def keep_running(program: Program, terminal: Terminal) -> None:
    """Run until cancelled; raises ``ProgramEnded``."""
    raise ProgramEnded(program.name, await run_once(program, terminal))


async def run_every(interval_s: float, program: Program, terminal: Terminal) -> None:
    """Run again and again, whatever each run ends with, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        exit_code = await run_once(program, terminal)
        if exit_code != 0:
            terminal.line(program.name, f"{_meaning(exit_code)}; again in {interval_s:g} s")


async def run_once(program: Program, terminal: Terminal) -> int:
    """Run to the end and return the exit code; when cancelled, end it within ``GRACE_S``.

    Either way nothing that it started is left. What it prints goes to `terminal`.
    """
    process = await asyncio.create_subprocess_exec(
        *program.command,
        env=program.environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LONGEST_LINE_BYTES,
        # A group of its own, which can be ended as a whole; and a session of its own, because
        # Ctrl-C reaches every process of the terminal's: the order of ending is decided here.
        start_new_session=True,
    )
    async with asyncio.TaskGroup() as tasks:
        printing = tasks.create_task(_print_lines(process, program.name, terminal))
        try:
            return await process.wait()
        finally:
            await _end(process)
            await printing


async def _print_lines(process: asyncio.subprocess.Process, name: str, terminal: Terminal) -> None:
    if process.stdout is not None:
        async for line in process.stdout:
            terminal.line(name, line.decode(errors="replace").rstrip())


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    # Nothing left to kill is the rule; macOS says PermissionError of a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _meaning(exit_code: int) -> str:
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
