"""Runs activities together and stops all of them when one fails."""

import asyncio
from collections.abc import Coroutine, Sequence

from local.processes import ProgramExited
from local.readiness import StartTimeout
from local.terminal import Terminal, TerminalClosed


class _StopRequested(Exception):
    pass


async def run_together(
    activities: Sequence[Coroutine[None, None, None]], *, stop: asyncio.Event, terminal: Terminal
) -> int:
    """Run all activities until `stop` is set or one fails. Returns the exit code, 0 or 1.

    A failure is printed. On return, all activities have been canceled and have ended.
    """
    exit_code = 0
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_wait_for(stop, terminal))
            for activity in activities:
                tasks.create_task(activity)
    except* _StopRequested:
        pass
    except* (ProgramExited, StartTimeout) as failures:
        terminal.print(f"{failures.exceptions[0]} All other programs were stopped.")
        exit_code = 1
    except* TerminalClosed:
        exit_code = 1
    return exit_code


async def _wait_for(stop: asyncio.Event, terminal: Terminal) -> None:
    await stop.wait()
    terminal.print("Stopping.")
    raise _StopRequested
