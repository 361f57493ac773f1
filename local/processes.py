"""Runs child processes, and kills everything that they started when they end."""

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
"""Time from SIGTERM to SIGKILL. After Ctrl-C, everything must exit within 5 s."""
DRAIN_TIMEOUT_S = 0.5
"""Limit for reading the rest of a program's output, which is in the pipe when it exits."""
MAX_LINE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Program:
    """`name` is the prefix of its output lines. `environment` is its complete environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class ProgramExited(Exception):
    """A program that should keep running has exited."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"The {name} exited unexpectedly ({_describe(exit_code)}).")


async def keep_running(program: Program, terminal: Terminal) -> None:
    """Run until canceled. Raises ``ProgramExited``."""
    raise ProgramExited(program.name, await run_once(program, terminal))


async def run_every(interval_s: float, program: Program, terminal: Terminal) -> None:
    """Run repeatedly until canceled, whatever the exit code of each run."""
    while True:
        await asyncio.sleep(interval_s)
        exit_code = await run_once(program, terminal)
        if exit_code != 0:
            message = f"{_describe(exit_code)}; next run in {interval_s:g} s"
            terminal.print_line(program.name, message)


async def run_once(program: Program, terminal: Terminal) -> int:
    """Run the program and return its exit code. When canceled, terminate it within ``GRACE_S``.

    In both cases, all processes that the program started are killed. Its output goes to `terminal`.
    """
    # With asyncio's own pipe, wait() returns only when the pipe is closed, and surviving children
    # of the program keep it open.
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
                await asyncio.wait([printing], timeout=DRAIN_TIMEOUT_S)
                printing.cancel()


async def _start(program: Program, *, output: int) -> asyncio.subprocess.Process:
    """Start the program with `output` as its standard output, and close our copy."""
    with io.FileIO(output, "w"):
        return await asyncio.create_subprocess_exec(
            *program.command,
            env=program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C signals only the terminal's session, so this process decides when to terminate
            # the program. Its process group can be killed even after its leader has exited.
            start_new_session=True,
        )


async def _print_lines(output: io.FileIO, name: str, terminal: Terminal) -> None:
    lines = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), output
    )
    try:
        async for line in lines:
            terminal.print_line(name, line.decode(errors="replace").rstrip())
    finally:
        transport.close()


async def terminate(process: asyncio.subprocess.Process, *, grace_s: float = GRACE_S) -> None:
    """Send SIGTERM, and SIGKILL after `grace_s`. Kill all processes that the process started.

    The process must be the leader of its own session.
    """
    descendants = _descendants(process.pid)
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await process.wait()
    # Usually the group is gone by now. macOS raises PermissionError for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    await process.wait()


def _descendants(pid: int) -> Sequence[psutil.Process]:
    """Includes processes in other groups, such as the worker's imaging processes."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _describe(exit_code: int) -> str:
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
