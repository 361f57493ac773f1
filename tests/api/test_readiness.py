"""Liveness (/healthz) and readiness (/readyz)."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from services.api.readiness import CACHE_S, Readiness
from services.common.errors import QueueUnavailable, TableUnavailable
from tests.api.conftest import MakeApi
from tests.clocks import MonotonicClock

TIMEOUT_S = 0.5
"""Short for a check that hangs, and long enough for one that responds."""


@dataclass
class Check:
    """Counts its calls, and raises `error` if set."""

    error: Exception | None = None
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


@dataclass
class HangingCheck:
    """Hangs until it is released."""

    released: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        self.released.wait(timeout=30)


@pytest.fixture
def hanging() -> Iterator[HangingCheck]:
    check = HangingCheck()
    yield check
    check.released.set()


def test_liveness_does_not_depend_on_aws(make_api: MakeApi) -> None:
    failing = Readiness({"table": Check(TableUnavailable("down"))})
    response = make_api(readiness=failing).get("/healthz", key=None)

    assert (response.status_code, response.body) == (200, {"status": "ok"})


def test_the_api_is_ready_when_every_dependency_responds(make_api: MakeApi) -> None:
    readiness = Readiness({"table": Check(), "queue": Check()})
    response = make_api(readiness=readiness).get("/readyz", key=None)

    assert (response.status_code, response.body) == (200, {"status": "ok"})


def test_a_failing_dependency_is_named(make_api: MakeApi) -> None:
    readiness = Readiness(
        {"table": Check(), "queue": Check(QueueUnavailable("internal-host")), "secret": Check()}
    )
    response = make_api(readiness=readiness).get("/readyz", key=None)

    assert response.status_code == 503
    assert response.body["code"] == "not_ready"
    assert response.body["failing"] == ["queue"]
    assert "internal-host" not in response.text


def test_a_hanging_check_counts_as_failing_and_runs_only_once(
    hanging: HangingCheck,
) -> None:
    clock = MonotonicClock()
    readiness = Readiness(
        {"table": Check(), "queue": hanging}, timeout_s=TIMEOUT_S, monotonic=clock
    )

    assert readiness.failing() == ["queue"]
    clock.advance(CACHE_S)
    assert readiness.failing() == ["queue"]
    assert hanging.calls == 1


def test_a_dependency_that_recovers_is_ready_again(hanging: HangingCheck) -> None:
    clock = MonotonicClock()
    readiness = Readiness({"queue": hanging}, timeout_s=TIMEOUT_S, monotonic=clock)
    assert readiness.failing() == ["queue"]

    hanging.released.set()
    clock.advance(CACHE_S)
    readiness.failing()  # collects the late response
    clock.advance(CACHE_S)
    assert readiness.failing() == []


def test_many_requests_cost_one_check_per_second() -> None:
    clock, check = MonotonicClock(), Check()
    readiness = Readiness({"table": check}, monotonic=clock)
    for _ in range(50):
        readiness.failing()
    assert check.calls == 1

    clock.advance(CACHE_S)
    readiness.failing()
    assert check.calls == 2


def test_a_bug_in_a_check_is_not_reported_as_an_outage() -> None:
    with pytest.raises(ZeroDivisionError):
        Readiness({"table": Check(ZeroDivisionError())}).failing()


def test_the_api_is_ready_again_after_a_bug_in_a_check() -> None:
    check = Check(ZeroDivisionError())
    readiness = Readiness({"table": check})
    with pytest.raises(ZeroDivisionError):
        readiness.failing()

    check.error = None
    assert readiness.failing() == []
