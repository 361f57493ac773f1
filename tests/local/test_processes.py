"""Programs that run together: their output, and that no process is left behind."""

import asyncio
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.activities import run_together
from local.processes import Program, keep_running, run_every, run_once
from local.terminal import Terminal
from tests.local.process_exit import wait_for_exit

SLEEP = "import time; time.sleep(600)"


def program(code: str, *, name: str = "one") -> Program:
    return Program(name, (sys.executable, "-c", code), dict(os.environ))


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def terminal(screen: io.StringIO) -> Terminal:
    return Terminal(screen, names=("one", "another"))


class PidFiles:
    """Programs that write their process ID to a file when they have started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def writing(self, label: str) -> str:
        """Code that writes the process ID to the file `label`."""
        path = str(self._folder / label)
        return (
            f"import os; open({path + '~'!r}, 'w').write(str(os.getpid()))\n"
            f"os.rename({path + '~'!r}, {path!r})\n"
        )

    def waiting_for(self, label: str) -> str:
        """Code that waits for the file `label`."""
        path = str(self._folder / label)
        return f"import os, time\nwhile not os.path.exists({path!r}): time.sleep(0.01)\n"

    async def read(self, *labels: str) -> Sequence[int]:
        """Wait for the files and return the process IDs."""
        paths = [self._folder / label for label in labels]
        async with asyncio.timeout(20):
            while not all(path.exists() for path in paths):  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.01)
        return [int(path.read_text()) for path in paths]


@pytest.fixture
def pid_files(tmp_path: Path) -> PidFiles:
    return PidFiles(tmp_path)


def test_output_lines_start_with_the_name_of_the_program(
    terminal: Terminal, screen: io.StringIO
) -> None:
    code = (
        r"import sys; print('a', flush=True); sys.stderr.buffer.write(b'\xff b\n\n'); sys.exit(3)"
    )
    assert asyncio.run(run_once(program(code), terminal)) == 3
    assert screen.getvalue().splitlines() == ["one     │ a", "one     │ � b", "one     │ "]


def test_stopping_kills_a_program_that_ignores_sigterm_and_its_detached_children(
    terminal: Terminal, pid_files: PidFiles
) -> None:
    child = pid_files.writing("child") + SLEEP
    ignoring_sigterm = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        + pid_files.writing("parent")
        + SLEEP
    )

    async def scenario() -> tuple[int, Sequence[int]]:
        stop = asyncio.Event()
        activities = (keep_running(program(ignoring_sigterm), terminal),)
        running = asyncio.create_task(run_together(activities, stop=stop, terminal=terminal))
        pids = await pid_files.read("parent", "child")
        stop.set()
        return await running, pids

    exit_code, pids = asyncio.run(scenario())
    assert exit_code == 0
    assert wait_for_exit(pids)


def test_a_program_can_print_while_it_stops(
    terminal: Terminal, screen: io.StringIO, pid_files: PidFiles
) -> None:
    stopping_in_order = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('goodbye', flush=True), sys.exit()))\n"
    )

    async def scenario() -> int:
        stop = asyncio.Event()
        activities = (
            keep_running(program(stopping_in_order + pid_files.writing("pid") + SLEEP), terminal),
        )
        running = asyncio.create_task(run_together(activities, stop=stop, terminal=terminal))
        await pid_files.read("pid")
        stop.set()
        return await running

    assert asyncio.run(scenario()) == 0
    assert "one     │ goodbye" in screen.getvalue()


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("raise SystemExit(0)", "exit code 0"),
        ("raise SystemExit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    ],
)
def test_a_program_that_exits_stops_all_programs_and_is_reported(
    terminal: Terminal, screen: io.StringIO, pid_files: PidFiles, ending: str, reason: str
) -> None:
    async def scenario() -> tuple[int, Sequence[int]]:
        activities = (
            keep_running(program(pid_files.writing("other") + SLEEP, name="another"), terminal),
            keep_running(program(pid_files.waiting_for("other") + ending), terminal),
        )
        running = asyncio.create_task(
            run_together(activities, stop=asyncio.Event(), terminal=terminal)
        )
        pids = await pid_files.read("other")
        return await running, pids

    exit_code, pids = asyncio.run(scenario())
    assert exit_code == 1
    assert f"The one exited unexpectedly ({reason})." in screen.getvalue()
    assert wait_for_exit(pids)


def test_a_program_that_exits_leaves_no_children(terminal: Terminal, pid_files: PidFiles) -> None:
    child = pid_files.writing("child") + SLEEP
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])\n"

    async def scenario() -> Sequence[int]:
        await run_once(program(parent + pid_files.waiting_for("child")), terminal)
        return await pid_files.read("child")

    assert wait_for_exit(asyncio.run(scenario()))


def test_a_failed_run_does_not_stop_later_runs(terminal: Terminal, screen: io.StringIO) -> None:
    async def scenario() -> None:
        repeated_run = run_every(0, program("print('run'); raise SystemExit(1)"), terminal)
        running = asyncio.create_task(repeated_run)
        async with asyncio.timeout(20):
            while screen.getvalue().count("run") < 2:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(scenario())
    assert "exit code 1; next run in 0 s" in screen.getvalue()


def test_closing_the_output_stops_all_programs() -> None:
    """For example ``make run | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        terminal = Terminal(stream, names=("one", "another"))

        async def scenario() -> int:
            print_forever = "while True: print('x' * 999, flush=True)"
            activities = (keep_running(program(print_forever), terminal),)
            return await run_together(activities, stop=asyncio.Event(), terminal=terminal)

        assert asyncio.run(scenario()) == 1
