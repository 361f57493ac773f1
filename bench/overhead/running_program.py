"""Starts the measured programs, sends them input, and stops them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.overhead.process_cpu import tree_cpu_s
from local.processes import Program

TIMEOUT_S = 300
"""Limit for each step of a program. The slowest machine needs far less."""
POLL_INTERVAL_S = 0.05
STOP_TIMEOUT_S = 30
LOG_TAIL_LINES = 20


class ProgramFailed(Exception):
    """The message ends with the last lines of the program's log."""


class RunningProgram:
    """Its output goes to a file, like a log."""

    def __init__(self, program: Program, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._program = program
        self._process = process
        self._log = log

    def cpu_s(self) -> float:
        """CPU seconds that its process tree has used so far."""
        return tree_cpu_s(self._process.pid)

    def send_line(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def has_printed(self, text: str) -> bool:
        return text in self._log.read_text(errors="replace")

    def wait_until(self, done: Callable[[], bool], goal: str) -> None:
        """Poll until `done`. Raises ``ProgramFailed`` if the program exits or the timeout ends."""
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self.failure(f"did not {goal}")
            time.sleep(POLL_INTERVAL_S)

    def failure(self, reason: str) -> ProgramFailed:
        tail = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        heading = f"The {self._program.name} {reason}. Last lines of its log:"
        return ProgramFailed("\n".join((heading, *tail)))


@contextmanager
def running(program: Program, *, scratch: Path) -> Iterator[RunningProgram]:
    """Run the program inside the ``with`` block. Its log is a file in `scratch`."""
    log = scratch / f"{program.name.replace(' ', '-')}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own programs
            program.command,
            env=program.environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield RunningProgram(program, process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
