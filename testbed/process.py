"""A program in the background, its output in a file, that can be hurt as a container can."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from local.processes import Program
from local.watchdog import Watchdog
from testbed.waiting import PATIENCE_S


class Process:
    """Starts at once. Leaving its ``with`` kills what is still there of it."""

    def __init__(self, program: Program, *, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches whoever started us, who then decides
            )
        self._watchdog = Watchdog(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def terminate(self) -> None:
        """SIGTERM to the first process, as ECS sends it."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started without a word, as when a container is killed."""
        if self.is_running():
            self._signal_all(signal.SIGKILL)
            # Also those whose parent has died before. The number is still ours: it was not reaped.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._watchdog.stop()

    def freeze(self) -> None:
        """Stop it and all that it started, as when its machine is paused."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def exit_code(self, *, within_s: float = PATIENCE_S) -> int:
        """Wait for the end; raises ``subprocess.TimeoutExpired``."""
        exit_code = self._process.wait(within_s)
        self._watchdog.stop()
        return exit_code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _signal_all(self, signum: signal.Signals) -> None:
        """To it and its descendants, also those in other process groups."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signum)
