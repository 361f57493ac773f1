"""A circuit breaker: stops calls to a dependency that keeps failing."""

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class CircuitBreaker:
    """Opens after `failures` failed calls in a row. While it is open, it allows one call every
    `pause_s` seconds, as a probe. The first success closes it.

    Thread-safe. `name` is the dependency, for the log. `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int,
        pause_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._limit = failures
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe_at = 0.0

    def allows_call(self) -> bool:
        """Whether to call now. Report the outcome with `succeeded` or `failed`."""
        with self._lock:
            if self._failures < self._limit:
                return True
            now = self._monotonic()
            if now < self._next_probe_at:
                return False
            self._next_probe_at = now + self._pause_s
            return True

    def succeeded(self) -> None:
        with self._lock:
            was_open = self._failures >= self._limit
            self._failures = 0
        if was_open:
            log.info("circuit closed", dependency=self._name)

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            opens = self._failures == self._limit
            self._next_probe_at = self._monotonic() + self._pause_s
        if opens:
            log.warning("circuit opened", dependency=self._name)
