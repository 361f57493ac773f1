"""A program in the background, its output in a file, that can be hurt as a container can."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from local.fleet.waiting import PATIENCE_S
from local.processes import Program


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
        self._signal_all(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Stop it and all that it started, as when its machine is paused."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def exit_code(self, *, within_s: float = PATIENCE_S) -> int:
        """Wait for the end; raises ``subprocess.TimeoutExpired``."""
        return self._process.wait(within_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _signal_all(self, signum: signal.Signals) -> None:
        for process in list(self._family()):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        if signum is signal.SIGKILL:
            # Also those whose parent has died before, as a killed gunicorn's processes.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signum)

    def _family(self) -> Iterator[psutil.Process]:
        """It and its descendants, also those in other process groups."""
        if self.is_running():  # else the number may be another's by now
            process = psutil.Process(self.pid)
            yield process
            yield from process.children(recursive=True)
