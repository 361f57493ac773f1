"""A host that answers 429 or 503 is asked more slowly, by all processes that share the folder."""

import fcntl
import heapq
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.common.errors import SourceDeferred, SourceUnavailable
from services.worker.fetching.pacing import (
    FORGET_AFTER_S,
    MAX_DEFERRAL_S,
    MAX_PAUSE_S,
    MAX_TURN_WAIT_S,
    HostPacer,
)
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for, is_deferred
from tests.worker.fetching.loopback_source import ok, redirect, response_head, serving

HOST = "photos.example:443"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacer(tmp_path: Path, clock: Clock) -> HostPacer:
    return HostPacer(tmp_path, clock=clock, sleep=clock.sleep)


def deferral_s(pacer: HostPacer, host: str = HOST) -> float:
    with pytest.raises(SourceDeferred) as deferred:
        pacer.wait_for_turn(host)
    assert deferred.value.retry_after_s is not None
    return deferred.value.retry_after_s


def test_a_host_that_refuses_nothing_is_asked_at_any_rate(pacer: HostPacer, clock: Clock) -> None:
    for _ in range(1_000):
        assert pacer.wait_for_turn(HOST) == clock.now
        pacer.answered(HOST)


def test_nothing_is_stored_for_a_host_that_refuses_nothing(
    pacer: HostPacer, tmp_path: Path
) -> None:
    pacer.wait_for_turn(HOST)
    pacer.answered(HOST)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_spaces_the_requests_of_its_host_only(pacer: HostPacer, clock: Clock) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=None)
    start = clock.now
    assert pacer.wait_for_turn(HOST) == clock.now == start + 1
    assert pacer.wait_for_turn("other.example:443") == clock.now
    assert pacer.wait_for_turn(HOST) == clock.now == start + 2


def test_a_task_whose_turn_is_not_near_is_deferred(pacer: HostPacer, clock: Clock) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=20)
    start = clock.now
    deferrals = [deferral_s(pacer) for _ in range(3)]
    assert clock.now == start
    assert 20 < deferrals[0] < deferrals[1] < deferrals[2]


def test_retry_after_stops_all_requests_until_then(pacer: HostPacer, clock: Clock) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=20)
    clock.now += 20 - MAX_TURN_WAIT_S - 0.1
    deferral_s(pacer)
    clock.now += 0.2
    assert pacer.wait_for_turn(HOST) == pytest.approx(1_020)


def test_an_endless_retry_after_does_not_stop_a_host_for_good(
    pacer: HostPacer, clock: Clock
) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=86_400)
    assert deferral_s(pacer) <= MAX_DEFERRAL_S
    clock.now += MAX_PAUSE_S
    pacer.wait_for_turn(HOST)


def test_answers_raise_the_rate(pacer: HostPacer, clock: Clock) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=None)
    for _ in range(60):
        pacer.wait_for_turn(HOST)
        pacer.answered(HOST)
    start = clock.now
    pacer.wait_for_turn(HOST)
    assert clock.now - start < 0.01


def test_late_refusals_of_one_burst_slow_the_host_once(pacer: HostPacer, clock: Clock) -> None:
    asked_at = clock.now
    for _ in range(20):
        pacer.refused(HOST, asked_at=asked_at, retry_after_s=None)
        clock.now += 0.01
    assert pacer.wait_for_turn(HOST) < 1_002


def test_a_host_is_forgotten_after_its_last_refusal(
    pacer: HostPacer, clock: Clock, tmp_path: Path
) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=None)
    clock.now += FORGET_AFTER_S + 1
    assert pacer.wait_for_turn(HOST) == clock.now
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_back_stops_no_host(pacer: HostPacer, clock: Clock) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=200)
    clock.now -= 3_600
    assert pacer.wait_for_turn(HOST) == clock.now


def test_files_of_hosts_that_nobody_asks_are_deleted(
    pacer: HostPacer, clock: Clock, tmp_path: Path
) -> None:
    for number in range(10):
        pacer.refused(f"host-{number}.example:80", asked_at=clock.now, retry_after_s=None)
    clock.now = max(file.stat().st_mtime for file in tmp_path.iterdir()) + FORGET_AFTER_S + 1
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=None)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_processes_of_the_container_keep_the_pace(tmp_path: Path) -> None:
    program = f"""
import sys, time, pathlib
from services.worker.fetching.pacing import HostPacer
HostPacer(pathlib.Path(sys.argv[1])).refused("{HOST}", asked_at=time.time(), retry_after_s=60)
"""
    pacer = HostPacer(tmp_path)
    pacer.wait_for_turn(HOST)
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert 0 < deferral_s(pacer) <= MAX_DEFERRAL_S


def test_a_frozen_process_that_holds_the_lock_stops_no_other(
    pacer: HostPacer, clock: Clock, tmp_path: Path
) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=200)
    [path] = tmp_path.iterdir()
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert pacer.wait_for_turn(HOST) == clock.now
        pacer.answered(HOST)


def test_a_truncated_file_counts_as_none(pacer: HostPacer, clock: Clock, tmp_path: Path) -> None:
    pacer.refused(HOST, asked_at=clock.now, retry_after_s=200)
    [path] = tmp_path.iterdir()
    path.write_bytes(b"half")
    assert pacer.wait_for_turn(HOST) == clock.now


# ── In a fetch ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [429, 503])
def test_a_fetch_waits_after_another_one_was_refused(pacer: HostPacer, status: int) -> None:
    refusal = response_head(status, "Retry-After: 20", "Content-Length: 0")
    with serving(refusal, ok(IMAGE)) as source:
        fetcher = fetcher_for(source, pacer=pacer)
        assert isinstance(fetch_error(fetcher, source.url()), SourceUnavailable)
        assert is_deferred(fetcher, source.url("/other.png"))
    assert source.connections == 1


def test_other_failures_of_a_host_do_not_slow_it(pacer: HostPacer) -> None:
    failure = response_head(500, "Retry-After: 20", "Content-Length: 0")
    with serving(failure, ok(IMAGE)) as source:
        fetcher = fetcher_for(source, pacer=pacer)
        assert isinstance(fetch_error(fetcher, source.url()), SourceUnavailable)
        assert fetch(fetcher, source.url()) == IMAGE


def test_the_target_of_a_redirect_has_its_own_pace(pacer: HostPacer) -> None:
    refusal = response_head(429, "Retry-After: 20", "Content-Length: 0")
    with serving(refusal) as target, serving(redirect(target.url()), ok(IMAGE)) as source:
        fetcher = fetcher_for(source, target, pacer=pacer)
        assert isinstance(fetch_error(fetcher, source.url()), SourceUnavailable)
        assert fetch(fetcher, source.url()) == IMAGE
        assert is_deferred(fetcher, target.url())
    assert target.connections == 1


def test_successful_fetches_raise_the_rate(pacer: HostPacer, clock: Clock) -> None:
    with serving(ok(IMAGE)) as source:
        host = f"127.0.0.1:{source.port}"
        pacer.refused(host, asked_at=clock.now, retry_after_s=None)
        for _ in range(60):
            fetch(fetcher_for(source, pacer=pacer), source.url())
        start = clock.now
        pacer.wait_for_turn(host)
    assert clock.now - start < 0.01


# ── Whole backlogs, in simulated time ─────────────────────────────────────────────────────────


class RateLimitedHost:
    """Answers `limit` requests in each window of `window_s` seconds."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._counts: dict[int, int] = {}

    def __call__(self, now: float) -> bool:
        window = int(now // self._window_s)
        self._counts[window] = self._counts.get(window, 0) + 1
        return self._counts[window] <= self._limit


def run_backlog(
    pacer: HostPacer, clock: Clock, host: Callable[[float], bool], *, tasks: int
) -> tuple[float, int]:
    """How long the backlog takes in seconds, and the number of requests.

    A refused task comes back after 5 s, a deferred one after its deferral.
    """
    start, requests = clock.now, 0
    waiting = [(clock.now, number) for number in range(tasks)]
    while waiting:
        ready_at, number = heapq.heappop(waiting)
        clock.now = max(clock.now, ready_at)
        try:
            asked_at = pacer.wait_for_turn(HOST)
        except SourceDeferred as deferred:
            heapq.heappush(waiting, (clock.now + (deferred.retry_after_s or 0), number))
            continue
        requests += 1
        clock.now += 0.02
        if host(asked_at):
            pacer.answered(HOST)
        else:
            pacer.refused(HOST, asked_at=asked_at, retry_after_s=None)
            heapq.heappush(waiting, (clock.now + 5, number))
    return clock.now - start, requests


def test_a_rate_limited_host_gets_few_requests_in_vain(pacer: HostPacer, clock: Clock) -> None:
    seconds, requests = run_backlog(pacer, clock, RateLimitedHost(10, 10), tasks=120)
    assert seconds < 200  # 110 at best
    assert requests < 180


def test_a_host_that_was_down_is_soon_asked_at_full_speed(pacer: HostPacer, clock: Clock) -> None:
    back_at = clock.now + 1_800
    seconds, _ = run_backlog(pacer, clock, lambda now: now > back_at, tasks=1_000)
    assert seconds < 1_800 + MAX_DEFERRAL_S + 120


def test_rare_refusals_at_any_rate_hardly_slow_a_host(pacer: HostPacer, clock: Clock) -> None:
    chance = random.Random(1)
    seconds, _ = run_backlog(pacer, clock, lambda _: chance.random() > 0.05, tasks=5_000)
    assert seconds < 600  # 100 without pacing
