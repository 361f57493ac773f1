"""Bounds the memory of results that wait to be stored.

Without a bound, a slow bucket would let results of many megabytes pile up until the container is
killed. Before an image is processed, memory for the largest result is reserved. The rest of it is
returned when the size is known.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.common.errors import ImagingBusy
from services.worker.imaging.pool import BUSY_RETRY_S, MAX_WAIT_S, WAIT_SMOOTHING

RESERVATIONS = 4
"""How many of the largest results fit. One is being computed, and the next images wait for the
imaging process meanwhile."""


class Reservation:
    """Memory for one result, in bytes."""

    def __init__(self, memory: "ResultMemory", size: int) -> None:
        self._memory = memory
        self.size = size

    def shrink(self, size: int) -> None:
        """Return what the result does not need."""
        self._memory.free(self.size - size)
        self.size = size


class ResultMemory:
    """Thread-safe. `max_result_bytes` is the size of the largest result."""

    def __init__(self, *, max_result_bytes: int, max_wait_s: float = MAX_WAIT_S) -> None:
        self._max_result_bytes = max_result_bytes
        self._max_wait_s = max_wait_s
        self._free_bytes = RESERVATIONS * max_result_bytes
        self._changed = threading.Condition()
        self._recent_wait_s = 0.0

    @contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Hold memory for a result during the block. Raises ``ImagingBusy`` if none gets free."""
        self._take()
        reservation = Reservation(self, self._max_result_bytes)
        try:
            yield reservation
        finally:
            self.free(reservation.size)

    def recent_wait_s(self) -> float:
        """How long images have recently waited for memory, on average."""
        return self._recent_wait_s

    def free(self, size: int) -> None:
        with self._changed:
            self._free_bytes += size
            self._changed.notify_all()

    def _take(self) -> None:
        started = time.monotonic()
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: self._free_bytes >= self._max_result_bytes, timeout=self._max_wait_s
            )
            self._recent_wait_s += WAIT_SMOOTHING * (
                time.monotonic() - started - self._recent_wait_s
            )
            if not has_room:
                raise ImagingBusy(
                    "No memory for the result became free.", retry_after_s=BUSY_RETRY_S
                )
            self._free_bytes -= self._max_result_bytes
