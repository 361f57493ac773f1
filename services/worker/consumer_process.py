"""The supervisor's handle on one consumer process."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from services.worker.progress import ProgressReader


class ConsumerProcess:
    """A running consumer process with a temporary folder of its own.

    `command` gets two more arguments: the descriptor of the pipe for progress reports, and the
    folder `scratch`. The folder is emptied first, because a process that was killed leaves its
    downloads behind.
    """

    def __init__(self, command: Sequence[str], *, scratch: Path) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._progress = ProgressReader()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            (*command, str(self._progress.writer), str(scratch)),
            pass_fds=[self._progress.writer],
        )
        self._progress.close_writer()
        self.started_at = time.monotonic()
        self.polled_at: float | None = None
        """When the poll loop last made progress, on the monotonic clock."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Becomes readable after progress, and when the process has ended."""
        return self._progress.fileno()

    def is_running(self) -> bool:
        """Read the progress reports. Return False if the process has ended."""
        reports = self._progress.read()
        if reports is None:
            return False
        if reports:
            self.polled_at = time.monotonic()
        return True

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        exit_code = self._process.wait()
        self._progress.close()
        return exit_code
