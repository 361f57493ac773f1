"""Programs that run together: what they print, and that nothing of them is left."""

import asyncio
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.processes import Program, keep_running, run_every, run_once
from local.supervisor import run_together
from local.terminal import Terminal
from tests.local.process_exit import wait_for_exit

FOR_EVER = "import time; time.sleep(600)"


def program(code: str, *, name: str = "one") -> Program:
    return Program(name, (sys.executable, "-c", code), dict(os.environ))


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def terminal(screen: io.StringIO) -> Terminal:
    return Terminal(screen, names=("one", "another"))


class Started:
    """Programs that write their process id into a file when they are up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def noting(self, label: str) -> str:
        """Code that notes the process id under `label`."""
        path = str(self._folder / label)
        return (
            f"import os; open({path + '~'!r}, 'w').write(str(os.getpid()))\n"
            f"os.rename({path + '~'!r}, {path!r})\n"
        )

    def waiting_for(self, label: str) -> str:
        """Code that waits until the program with that label is up."""
        path = str(self._folder / label)
        return f"import os, time\nwhile not os.path.exists({path!r}): time.sleep(0.01)\n"

    async def when_all(self, *labels: str) -> Sequence[int]:
        """Their process ids."""
        paths = [self._folder / label for label in labels]
        async with asyncio.timeout(20):
            while not all(path.exists() for path in paths):  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
        return [int(path.read_text()) for path in paths]


@pytest.fixture
def started(tmp_path: Path) -> Started:
    return Started(tmp_path)


def test_lines_carry_the_name_of_who_said_them(terminal: Terminal, screen: io.StringIO) -> None:
    code = (
        r"import sys; print('a', flush=True); sys.stderr.buffer.write(b'\xff b\n\n'); sys.exit(3)"
    )
    assert asyncio.run(run_once(program(code), terminal)) == 3
    assert screen.getvalue().splitlines() == ["one     │ a", "one     │ � b", "one     │ "]


def test_stopping_ends_even_what_does_not_want_to_and_its_children_elsewhere(
    terminal: Terminal, started: Started
) -> None:
    child = started.noting("child") + FOR_EVER
    stubborn = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        + started.noting("parent")
        + FOR_EVER
    )

    async def scenario() -> tuple[int, Sequence[int]]:
        stop = asyncio.Event()
        activities = (keep_running(program(stubborn), terminal),)
        running = asyncio.create_task(run_together(activities, stop=stop, terminal=terminal))
        pids = await started.when_all("parent", "child")
        stop.set()
        return await running, pids

    exit_code, pids = asyncio.run(scenario())
    assert exit_code == 0
    assert wait_for_exit(pids)


def test_stopping_lets_a_program_say_goodbye(
    terminal: Terminal, screen: io.StringIO, started: Started
) -> None:
    polite = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('goodbye', flush=True), sys.exit()))\n"
    )

    async def scenario() -> int:
        stop = asyncio.Event()
        activities = (keep_running(program(polite + started.noting("it") + FOR_EVER), terminal),)
        running = asyncio.create_task(run_together(activities, stop=stop, terminal=terminal))
        await started.when_all("it")
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
def test_one_that_ends_by_itself_ends_all_with_a_sentence(
    terminal: Terminal, screen: io.StringIO, started: Started, ending: str, reason: str
) -> None:
    async def scenario() -> tuple[int, Sequence[int]]:
        activities = (
            keep_running(program(started.noting("other") + FOR_EVER, name="another"), terminal),
            keep_running(program(started.waiting_for("other") + ending), terminal),
        )
        running = asyncio.create_task(
            run_together(activities, stop=asyncio.Event(), terminal=terminal)
        )
        pids = await started.when_all("other")
        return await running, pids

    exit_code, pids = asyncio.run(scenario())
    assert exit_code == 1
    assert f"The one ended by itself ({reason})." in screen.getvalue()
    assert wait_for_exit(pids)


def test_one_that_ends_by_itself_leaves_no_children(terminal: Terminal, started: Started) -> None:
    child = started.noting("child") + FOR_EVER
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])\n"

    async def scenario() -> Sequence[int]:
        await run_once(program(parent + started.waiting_for("child")), terminal)
        return await started.when_all("child")

    assert wait_for_exit(asyncio.run(scenario()))


def test_what_runs_at_intervals_goes_on_after_a_failure(
    terminal: Terminal, screen: io.StringIO
) -> None:
    async def scenario() -> None:
        endless = run_every(0, program("print('run'); raise SystemExit(1)"), terminal)
        running = asyncio.create_task(endless)
        async with asyncio.timeout(20):
            while screen.getvalue().count("run") < 2:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(scenario())
    assert "exit code 1; again in 0 s" in screen.getvalue()


def test_a_reader_that_leaves_ends_all() -> None:
    """As in ``make run | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        terminal = Terminal(stream, names=("one", "another"))

        async def scenario() -> int:
            talker = "while True: print('x' * 999, flush=True)"
            activities = (keep_running(program(talker), terminal),)
            return await run_together(activities, stop=asyncio.Event(), terminal=terminal)

        assert asyncio.run(scenario()) == 1
