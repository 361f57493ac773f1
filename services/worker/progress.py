"""The pipe on which a consumer process reports progress to its supervisor.

It also connects their lives: the supervisor sees the end of a consumer as the end of its pipe, and
a consumer cannot write to the pipe of a supervisor that has ended.
"""

import os
from contextlib import suppress


class SupervisorGone(Exception):
    """The supervisor has ended, so no one would restart or stop this process."""


class ProgressWriter:
    """The consumer's end. `descriptor` is the open pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def report(self) -> None:
        """Report that the poll loop makes progress. Raises ``SupervisorGone``."""
        try:
            with suppress(BlockingIOError):  # the pipe holds more reports than the supervisor needs
                os.write(self._descriptor, b".")
        except BrokenPipeError as gone:
            raise SupervisorGone("The supervisor has ended.") from gone


class ProgressReader:
    """The supervisor's end. `writer` is the descriptor for the consumer process to inherit."""

    def __init__(self) -> None:
        self._descriptor, self.writer = os.pipe()
        os.set_blocking(self._descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def close_writer(self) -> None:
        """Call this once the consumer process has inherited its end."""
        os.close(self.writer)

    def read(self) -> int | None:
        """The number of reports since the last call, or None if the consumer process has ended."""
        reports = 0
        with suppress(BlockingIOError):
            while chunk := os.read(self._descriptor, 65_536):
                reports += len(chunk)
            return None
        return reports

    def close(self) -> None:
        os.close(self._descriptor)
