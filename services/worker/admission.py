"""How many tasks a consumer process works on at the same time.

Most tasks wait for the network, so there must be many of them to keep the CPU busy. How many
depends on the latencies of the moment. By Little's law, the tasks in progress are the throughput
times the time per task. So while the latencies stay, the CPU's utilization is proportional to the
number of tasks in progress: the limit times ``GOAL / utilization`` meets the goal.
"""

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

GOAL = 0.9
"""Utilization to aim for. Beyond it, tasks only wait for the CPU."""
INTERVAL_S = 1.0
"""How often the limit is adapted. The kernel counts CPU time in steps of 10 ms."""
INITIAL_LIMIT = 8
"""Also the least for tasks that wait for the CPU, so that a few slow ones do not stop the rest."""
MIN_LIMIT = 2
MAX_IMAGE_WAIT_S = 5.0
"""If images wait longer than this for an imaging process, the limit falls below
``INITIAL_LIMIT``, because these tasks only occupy memory and time of their leases."""
MAX_GROWTH, MAX_DECLINE = 2.0, 0.7
"""Bounds for one step, because a single interval can be misleading."""


class Admission:
    """Thread-safe.

    `vcpus` is the share of the container that this process may use, and `cpu_s` the CPU time used
    by the process and its imaging processes. `image_wait_s` is how long images have recently waited
    for an imaging process. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        vcpus: float,
        maximum: int,
        cpu_s: Callable[[], float],
        image_wait_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vcpus = vcpus
        self._maximum = maximum
        self._cpu_s = cpu_s
        self._image_wait_s = image_wait_s
        self._clock = clock
        self._lock = threading.Lock()
        self._limit = float(min(INITIAL_LIMIT, maximum))
        self._running = 0
        self._changed_at = clock()
        self._task_seconds = 0.0
        """The integral of the running tasks over the current interval."""
        self._interval_started_at = self._changed_at
        self._cpu_s_before = cpu_s()

    def limit(self) -> int:
        with self._lock:
            self._integrate()
            elapsed_s = self._changed_at - self._interval_started_at
            if elapsed_s >= INTERVAL_S:
                self._adapt(elapsed_s)
            return round(self._limit)

    def set_running(self, running: int) -> None:
        """Call this whenever a task starts or ends."""
        with self._lock:
            self._integrate()
            self._running = running

    def _integrate(self) -> None:
        now = self._clock()
        self._task_seconds += self._running * (now - self._changed_at)
        self._changed_at = now

    def _adapt(self, elapsed_s: float) -> None:
        cpu_s = self._cpu_s()
        utilization = (cpu_s - self._cpu_s_before) / (elapsed_s * self._vcpus)
        mean_running = self._task_seconds / elapsed_s
        if mean_running >= self._limit / 2:  # otherwise the queue is empty, and not the limit low
            self._limit = self._next_limit(utilization)
        self._interval_started_at = self._changed_at
        self._cpu_s_before = cpu_s
        self._task_seconds = 0.0

    def _next_limit(self, utilization: float) -> float:
        if self._image_wait_s() > MAX_IMAGE_WAIT_S:
            return max(MIN_LIMIT, self._limit * MAX_DECLINE)
        factor = GOAL / max(utilization, GOAL / MAX_GROWTH)
        limit = max(INITIAL_LIMIT, self._limit * max(factor, MAX_DECLINE))
        return min(limit, self._maximum)
