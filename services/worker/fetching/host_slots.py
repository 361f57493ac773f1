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
SHARE_BESIDE_OTHERS = 0.25
"""Share of the slots that a slow host may hold while tasks of other hosts arrive."""
SHARE_ALONE = 0.75
"""Its share while only its tasks arrive. The free slots find out whether others wait."""
MEMORY_S = 120.0
"""How long after its last slow fetch a host is slow, and after its last fetch it counts as another
host that needs slots."""
MAX_DEFERRAL_S = 300.0
"""The longest deferral: as long as a message waits hidden in the queue."""


@dataclass(slots=True)
class _Host:
    used_at: float
    slow_until: float
    deferred_until: float
    """When the task that was deferred last comes back."""
    slow_fetch_s: float = SLOW_FETCH_S
    """How long its last slow fetch took."""
    starts: list[float] = field(default_factory=list)
    """The starts of its running fetches, the oldest first."""

    def is_slow(self, now: float) -> bool:
        return now < self.slow_until or self._longest_s(now) > SLOW_FETCH_S

    def defer(self, now: float, *, limit: int) -> float:
        """How long the task waits, in seconds: for a free slot, behind those deferred before it."""
        fetch_s = max(self.slow_fetch_s, self._longest_s(now))
        slot_free_at = now - self._longest_s(now) + fetch_s
        self.deferred_until = max(slot_free_at, self.deferred_until) + fetch_s / limit
        return min(self.deferred_until - now, MAX_DEFERRAL_S)

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
        share = SHARE_BESIDE_OTHERS if len(self._hosts) > 1 else SHARE_ALONE
        limit = max(1, int(self._slots() * share))
        if host.is_slow(now) and len(host.starts) >= limit:
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
            host.slow_fetch_s = now - start

    def _forget_idle_hosts(self, now: float) -> None:
        while self._hosts:
            name, host = next(iter(self._hosts.items()))
            if host.starts or now - host.used_at < MEMORY_S:
                return
            del self._hosts[name]
