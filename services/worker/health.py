"""The worker's health: whether the poll loop of every consumer process makes progress.

A poll loop reports progress in each iteration, whether it is idle or busy. It stops when it hangs,
and when a task runs longer than any task may. The supervisor writes the oldest of the last reports
to a file. The health check, probe.py, reads the file's age, so it does not depend on AWS, and it
fails when the supervisor hangs too.
"""

import time
from pathlib import Path

import structlog

from services.common.call_limits import CallLimits

log = structlog.get_logger()


class HealthFile:
    """Holds a time on the monotonic clock, which all processes of a machine share.

    It also holds `max_age_s`, the age at which the worker is no longer healthy.
    """

    def __init__(self, path: Path, *, max_age_s: float) -> None:
        self._path = path
        self._max_age_s = max_age_s
        self._next = path.with_name(f"{path.name}.next")

    def write(self, polled_at: float) -> None:
        """Replace the file atomically, so that the health check never reads a partial one.

        If the disk fails, the consumers continue, but the worker becomes unhealthy and is then
        stopped gracefully.
        """
        try:
            self._next.write_text(f"{polled_at} {self._max_age_s}")
            self._next.replace(self._path)
        except OSError:
            log.exception("health file not written")

    def age_s(self) -> float | None:
        """Seconds since the time in the file, or None if there is none."""
        try:
            return time.monotonic() - float(self._path.read_text().split()[0])
        except FileNotFoundError:
            return None


def max_healthy_age_s(receive_wait_s: float) -> float:
    """The age that is still healthy: twice the longest receive, including its retries."""
    return 2 * CallLimits().max_call_s(wait_s=receive_wait_s)
