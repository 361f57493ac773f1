"""Requests are sent at a fixed rate, and a slow one counts for those that it delays."""

import time
from collections import Counter
from threading import Lock

from bench.open_loop import THREADS, latencies_ms


def test_each_request_is_sent_once() -> None:
    sent: Counter[int] = Counter()
    latencies_ms(lambda number: sent.update([number]), rate=1_000, duration_s=0.2)

    assert sent == Counter(range(200))


def test_a_latency_includes_the_response() -> None:
    taken = latencies_ms(lambda _: time.sleep(0.02), rate=100, duration_s=0.1)

    assert len(taken) == 10
    assert min(taken) >= 20


def test_a_latency_includes_the_delay_by_slow_requests_before_it() -> None:
    server = Lock()

    def send(_: int) -> None:
        with server:
            time.sleep(0.001)

    taken = latencies_ms(send, rate=100_000, duration_s=2 * THREADS / 100_000)

    assert taken[-1] >= THREADS  # ms: the server took one for each request before it
