"""A background process that a test can stop, kill and freeze. Its output goes to a file."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from local.processes import Program
from local.watchdog import Watchdog
from testbed.waiting import DEFAULT_TIMEOUT_S


class Process:
    """Starts immediately. Leaving its ``with`` kills it and its descendants."""

    def __init__(self, program: Program, *, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach only the test, which then stops its processes.
                start_new_session=True,
            )
        self._watchdog = Watchdog(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def terminate(self) -> None:
        """Send SIGTERM to the process itself, as ECS does."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and its descendants, as when a container is killed."""
        if self.is_running():
            self._signal_tree(signal.SIGKILL)
            # Kills descendants whose parent has exited, too. The group ID cannot belong to another
            # program, since the process has not been reaped.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._watchdog.stop()

    def freeze(self) -> None:
        """Send SIGSTOP to the process and its descendants, as when their machine is paused."""
        self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT to the process and its descendants."""
        self._signal_tree(signal.SIGCONT)

    def wait_for_exit(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> int:
        """Wait for the exit code. Raises ``subprocess.TimeoutExpired``."""
        exit_code = self._process.wait(timeout_s)
        self._watchdog.stop()
        return exit_code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _signal_tree(self, signum: signal.Signals) -> None:
        """Signal the process and its descendants, including those in other process groups."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signum)
