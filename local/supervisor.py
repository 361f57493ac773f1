"""Things that run together and end as one."""

import asyncio
from collections.abc import Coroutine, Sequence

from local.processes import ProgramEnded
from local.readiness import StartTimeout
from local.terminal import Terminal, TerminalGone


class _StopRequested(Exception):
    pass


async def run_together(
    activities: Sequence[Coroutine[None, None, None]], *, stop: asyncio.Event, terminal: Terminal
) -> int:
    """Run all until `stop`, then return 0; or until one fails, then say so and return 1.

    Either way every activity is cancelled and has ended on return.
    """
    exit_code = 0
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_until(stop, terminal))
            for activity in activities:
                tasks.create_task(activity)
    except* _StopRequested:
        pass
    except* (ProgramEnded, StartTimeout) as failed:
        terminal.say(f"{failed.exceptions[0]} Everything else was stopped.")
        exit_code = 1
    except* TerminalGone:
        exit_code = 1
    return exit_code


async def _until(stop: asyncio.Event, terminal: Terminal) -> None:
    await stop.wait()
    terminal.say("Stopping.")
    raise _StopRequested
