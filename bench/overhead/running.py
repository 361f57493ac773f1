"""Processes that are measured: started, told what to do, and ended."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.overhead.process_cpu import tree_cpu_s
from local.processes import Program

TIMEOUT_S = 300
"""For anything that a program is waited for: far above what the slowest machine takes."""
LOOK_EVERY_S = 0.05
STOP_TIMEOUT_S = 30
LAST_LINES = 20


class ProgramFailed(Exception):
    """It did not do what it was started for. The message has its last lines."""


class Running:
    """A program under way. Its output goes to a file, as a log would."""

    def __init__(self, program: Program, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._program = program
        self._process = process
        self._log = log

    def cpu_s(self) -> float:
        """CPU seconds of its process tree so far."""
        return tree_cpu_s(self._process.pid)

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def has_said(self, text: str) -> bool:
        return text in self._log.read_text(errors="replace")

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Look again and again until `done`; raises ``ProgramFailed`` when that cannot come."""
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self.failed(f"did not {what}")
            time.sleep(LOOK_EVERY_S)

    def failed(self, how: str) -> ProgramFailed:
        last_lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        heading = f"The {self._program.name} {how}. Its last lines:"
        return ProgramFailed("\n".join((heading, *last_lines)))


@contextmanager
def running(program: Program, *, scratch: Path) -> Iterator[Running]:
    """Run the program for as long as the ``with`` lasts. Its log is a file in `scratch`."""
    log = scratch / f"{program.name.replace(' ', '-')}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - programs of ours
            program.command,
            env=program.environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Running(program, process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
