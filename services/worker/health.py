"""Whether the worker makes progress, told from outside its process.

The poll loop notes each round in a file. It stops noting when it hangs, and when a task has been
under way for longer than any task may: an idle worker and a busy one make rounds, a wedged one does
not. Nothing here depends on AWS being reachable.
"""

import time
from pathlib import Path

import structlog

from services.common.aws import CallLimits

log = structlog.get_logger()


class HealthFile:
    """Instants are those of the monotonic clock, which all processes of one machine share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")

    def note_round(self) -> None:
        """Replace the file, which thus is whole whenever the health check looks.

        A disk that takes nothing makes the worker unhealthy, so that it is told to stop in good
        order, and does not end the poll loop.
        """
        try:
            self._next.write_text(str(time.monotonic()))
            self._next.replace(self._path)
        except OSError:
            log.exception("round not noted")

    def age_s(self) -> float | None:
        """Seconds since the last noted round; None before the first."""
        try:
            return time.monotonic() - float(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return None


def healthy_within_s(receive_wait_s: float) -> float:
    """How old the last round may be: one receive that times out at every retry, twice over."""
    return 2 * CallLimits().max_call_s(wait_s=receive_wait_s)
