"""A measured program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process_tree import tree_cpu_s, tree_pss_mb, tree_rss_mb
from local.processes import Program
from testbed.process import Process
from testbed.waiting import WaitTimeout, wait_until

TIMEOUT_S = 300
"""Limit for each step of a program. The slowest machine needs far less."""
LOG_TAIL_LINES = 20


class ProgramFailed(Exception):
    """The message ends with the last lines of the program's log."""


class RunningProgram:
    """Its output goes to a file, like a log."""

    def __init__(self, name: str, process: Process) -> None:
        self._name = name
        self._process = process

    def cpu_s(self) -> float:
        """CPU seconds that its process tree has used so far."""
        return tree_cpu_s(self._process.pid)

    def rss_mb(self) -> float:
        return tree_rss_mb(self._process.pid)

    def pss_mb(self) -> float:
        return tree_pss_mb(self._process.pid)

    def wait_until(self, done: Callable[[], bool], goal: str) -> None:
        """Poll until `done`. Raises ``ProgramFailed`` if the program exits or the timeout ends."""

        def done_or_exited() -> bool:
            return not self._process.is_running() or done()

        try:
            wait_until(done_or_exited, goal, timeout_s=TIMEOUT_S)
        except WaitTimeout:
            raise self.failure(f"did not {goal} in time") from None
        if not self._process.is_running():
            raise self.failure(f"exited before it could {goal}")

    def failure(self, reason: str) -> ProgramFailed:
        tail = self._process.output().splitlines()[-LOG_TAIL_LINES:]
        return ProgramFailed("\n".join((f"{self._name} {reason}. End of its log:", *tail)))


@contextmanager
def running(program: Program, *, log: Path) -> Iterator[RunningProgram]:
    """Run the program inside the ``with`` block, and kill it at the end."""
    with Process(program, log=log) as process:
        yield RunningProgram(program.name, process)
