"""Requests at a fixed rate, whatever the responses."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

THREADS = 64
"""Requests that can be in progress at the same time."""


def latencies_ms(send: Callable[[int], None], *, rate: float, duration_s: float) -> list[float]:
    """Call `send` with 0, 1, 2 … at `rate` per second. Return how long each took, in order.

    A latency begins when the request was due, so it includes any time for which slow requests
    before it delayed it.
    """
    total = round(rate * duration_s)
    numbers, taken, started = count(), [0.0] * total, time.monotonic()

    def send_when_due(_: int) -> None:
        while (number := next(numbers)) < total:
            due = started + number / rate
            time.sleep(max(0, due - time.monotonic()))
            send(number)
            taken[number] = (time.monotonic() - due) * 1_000

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(send_when_due, range(THREADS)))
    return taken
