"""Child processes that leave nothing behind."""

import asyncio
import io
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from local.terminal import Terminal
from local.watchdog import Watchdog

GRACE_S = 2.5
"""From SIGTERM to SIGKILL: Ctrl-C has 5 s for everything."""
LAST_LINES_S = 0.5
"""For reading what the program said before it ended; all of that is in the pipe already."""
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
    # Not asyncio's own pipe: with that, wait() returns only when the pipe is closed, and whatever
    # the process leaves behind holds it open.
    reader, writer = os.pipe()
    with io.FileIO(reader) as output:
        process = await _start(program, output=writer)
        watchdog = Watchdog(process.pid)
        async with asyncio.TaskGroup() as tasks:
            printing = tasks.create_task(_print_lines(output, program.name, terminal))
            try:
                return await process.wait()
            finally:
                await terminate(process)
                watchdog.stop()
                await asyncio.wait([printing], timeout=LAST_LINES_S)
                printing.cancel()


async def _start(program: Program, *, output: int) -> asyncio.subprocess.Process:
    """Hand `output` over to the program."""
    with io.FileIO(output, "w"):
        return await asyncio.create_subprocess_exec(
            *program.command,
            env=program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C reaches every process of the terminal's session; who ends when is decided here.
            # And as a group it can be ended as a whole, even when its leader has died.
            start_new_session=True,
        )


async def _print_lines(output: io.FileIO, name: str, terminal: Terminal) -> None:
    lines = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), output
    )
    try:
        async for line in lines:
            terminal.line(name, line.decode(errors="replace").rstrip())
    finally:
        transport.close()


async def terminate(process: asyncio.subprocess.Process, *, grace_s: float = GRACE_S) -> None:
    """SIGTERM, after `grace_s` SIGKILL; then nothing that it started is left either.

    For a process that was started in a session of its own.
    """
    elsewhere = _descendants(process.pid)
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await process.wait()
    # Nothing left to kill is the rule; macOS says PermissionError of a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in elsewhere:
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    await process.wait()


def _descendants(pid: int) -> Sequence[psutil.Process]:
    """Also those that have left the group, as the worker's imaging children do."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _meaning(exit_code: int) -> str:
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
