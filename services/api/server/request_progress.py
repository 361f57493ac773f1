"""Whether the request threads keep up with the requests."""

import threading
import time
from collections.abc import Callable


class RequestProgress:
    """Counts the requests that wait for a thread, and remembers when a thread last finished one.

    Thread-safe. `monotonic` is a clock in seconds.
    """

    def __init__(self, *, stall_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stall_s = stall_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting = 0
        self._progress_at = monotonic()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a thread."""
        return self._waiting

    def queued(self) -> None:
        """A request waits for a thread."""
        with self._lock:
            if self._waiting == 0:
                self._progress_at = self._monotonic()
            self._waiting += 1

    def started(self) -> None:
        """A thread has taken a request."""
        with self._lock:
            self._waiting -= 1

    def finished(self) -> None:
        """A thread is free again."""
        with self._lock:
            self._progress_at = self._monotonic()

    def is_stalled(self) -> bool:
        """Whether requests have waited for `stall_s` during which no thread finished one."""
        with self._lock:
            return self._waiting > 0 and self._monotonic() - self._progress_at > self._stall_s
