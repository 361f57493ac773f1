"""Leaving slots to other hosts while one host is slow.

A fetch holds one of the worker's slots. Without a limit, a server that sends a byte per second
would soon hold all of them, and every other task would wait for its timeouts.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.common.errors import SourceDeferred

SLOW_FETCH_S = 2.0
"""A host is slow after a fetch that takes longer."""
SHARE_OF_A_SLOW_HOST = 0.25
"""Share of the slots that one slow host may hold while tasks of other hosts arrive."""
MEMORY_S = 120.0
"""How long after its last slow fetch a host is slow, and after its last fetch it counts as another
host that needs slots."""
MIN_DEFERRAL_S = 1.0
MAX_DEFERRAL_S = 300.0
"""The longest deferral: as long as a message waits hidden in the queue."""


@dataclass(slots=True)
class _Host:
    used_at: float
    slow_until: float
    deferred_until: float
    """When the task that was deferred last comes back."""
    starts: list[float] = field(default_factory=list)
    """The starts of its running fetches, the oldest first."""

    def is_slow(self, now: float) -> bool:
        return now < self.slow_until or self._longest_s(now) > SLOW_FETCH_S

    def defer(self, now: float, *, limit: int) -> float:
        """How long the task waits, in seconds: behind those that were deferred before it."""
        per_task_s = self._longest_s(now) / limit
        self.deferred_until = max(now, self.deferred_until) + per_task_s
        return min(max(self.deferred_until - now, MIN_DEFERRAL_S), MAX_DEFERRAL_S)

    def _longest_s(self, now: float) -> float:
        return now - self.starts[0] if self.starts else 0.0


class HostSlots:
    """Thread-safe. `slots` returns how many tasks the worker runs at the same time at most."""

    def __init__(
        self, *, slots: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = slots
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        """The hosts of the last two minutes, the one used last at the end."""

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold a slot for a fetch from the host `name`. Raises SourceDeferred."""
        with self._lock:
            host, start = self._admit(name)
        try:
            yield
        finally:
            with self._lock:
                self._release(host, start)

    def _admit(self, name: str) -> tuple[_Host, float]:
        now = self._clock()
        self._forget_idle_hosts(now)
        host = self._hosts.setdefault(name, _Host(used_at=now, slow_until=now, deferred_until=now))
        host.used_at = now
        self._hosts.move_to_end(name)
        limit = max(1, int(self._slots() * SHARE_OF_A_SLOW_HOST))
        others_arrive = len(self._hosts) > 1
        if others_arrive and host.is_slow(now) and len(host.starts) >= limit:
            raise SourceDeferred(
                "The image's server is slow and has enough connections, so this task waits.",
                retry_after_s=host.defer(now, limit=limit),
            )
        host.starts.append(now)
        return host, now

    def _release(self, host: _Host, start: float) -> None:
        now = self._clock()
        host.starts.remove(start)
        if now - start > SLOW_FETCH_S:
            host.slow_until = now + MEMORY_S

    def _forget_idle_hosts(self, now: float) -> None:
        while self._hosts:
            name, host = next(iter(self._hosts.items()))
            if host.starts or now - host.used_at < MEMORY_S:
                return
            del self._hosts[name]
