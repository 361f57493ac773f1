"""Whether everything is there that a submission needs, asked at most once a second."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from services.common.errors import AwsError

log = structlog.get_logger()

TIMEOUT_S = 2.0
"""A dependency that takes longer counts as failing; the load balancer itself waits 5 s."""
FRESH_FOR_S = 1.0
"""Anybody may ask, so asking must not cost a call each time."""


class Readiness:
    """`checks` raise ``AwsError`` when their dependency, the key, does not answer."""

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
        self._asked_at: float | None = None

    def failing(self) -> list[str]:
        """The names of the dependencies that do not answer, after `timeout_s` at the latest."""
        with self._lock:
            now = self._monotonic()
            if self._asked_at is None or now - self._asked_at >= FRESH_FOR_S:
                self._failing = self._ask()
                self._asked_at = self._monotonic()
            return self._failing

    def _ask(self) -> list[str]:
        for name, check in self._checks.items():
            if name not in self._running:  # else the last one still hangs; one is enough
                self._running[name] = self._executor.submit(check)
        asked = self._running
        done, _ = wait(asked.values(), timeout=self._timeout_s)
        self._running = {name: run for name, run in asked.items() if run not in done}
        return [name for name, run in asked.items() if not _succeeded(name, run)]


def _succeeded(name: str, run: Future[object]) -> bool:
    if not run.done():
        log.warning("dependency does not answer", dependency=name)
        return False
    error = run.exception()
    if error is None:
        return True
    if not isinstance(error, AwsError):
        raise error
    log.warning("dependency failed", dependency=name, reason=str(error))
    return False
