"""Readiness: checks every dependency of a submission, at most once a second."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from services.common.errors import AwsError

log = structlog.get_logger()

TIMEOUT_S = 2.0
"""A dependency that takes longer counts as failing. The load balancer waits 5 s."""
CACHE_S = 1.0
"""How long a result is reused. The endpoint is public, so a request must not always cost calls."""


class Readiness:
    """`checks` maps a dependency to a function that raises ``AwsError`` if it is unavailable."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], object]],
        *,
        timeout_s: float = TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(len(checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[object]] = {}
        self._failing: list[str] = []
        self._checked_at: float | None = None

    def failing(self) -> list[str]:
        """The names of the dependencies that do not respond within `timeout_s`."""
        with self._lock:
            now = self._monotonic()
            if self._checked_at is None or now - self._checked_at >= CACHE_S:
                self._failing = self._run_checks()
                self._checked_at = self._monotonic()
            return self._failing

    def _run_checks(self) -> list[str]:
        for name, check in self._checks.items():
            if name not in self._running:  # otherwise the last check still hangs
                self._running[name] = self._executor.submit(check)
        running = self._running
        done, _ = wait(running.values(), timeout=self._timeout_s)
        self._running = {name: run for name, run in running.items() if run not in done}
        return [name for name, run in running.items() if not _succeeded(name, run)]


def _succeeded(name: str, run: Future[object]) -> bool:
    if not run.done():
        log.warning("dependency timed out", dependency=name)
        return False
    error = run.exception()
    if error is None:
        return True
    if not isinstance(error, AwsError):
        raise error
    log.warning("dependency failed", dependency=name, reason=str(error))
    return False
