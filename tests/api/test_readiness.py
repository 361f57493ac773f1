"""/healthz and /readyz."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from services.api.readiness import FRESH_FOR_S, Readiness
from services.common.errors import QueueUnavailable, TableUnavailable
from tests.api.conftest import MakeApi

PASSES_S = 0.5
"""A timeout that is over for what hangs, never for what answers."""


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Check:
    """Counts how often it is asked, and fails as told."""

    error: Exception | None = None
    asked: int = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


@dataclass
class HangingCheck:
    """Does not answer until it is released."""

    released: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __call__(self) -> None:
        self.asked += 1
        self.released.wait(timeout=30)


@pytest.fixture
def hanging() -> Iterator[HangingCheck]:
    check = HangingCheck()
    yield check
    check.released.set()


def test_liveness_does_not_depend_on_aws(make_api: MakeApi) -> None:
    failing = Readiness({"table": Check(TableUnavailable("down"))})
    answer = make_api(readiness=failing).get("/healthz", key=None)

    assert (answer.status_code, answer.body) == (200, {"status": "ok"})


def test_the_api_is_ready_when_every_dependency_responds(make_api: MakeApi) -> None:
    readiness = Readiness({"table": Check(), "queue": Check()})
    answer = make_api(readiness=readiness).get("/readyz", key=None)

    assert (answer.status_code, answer.body) == (200, {"status": "ok"})


def test_a_failing_dependency_is_named(make_api: MakeApi) -> None:
    readiness = Readiness(
        {"table": Check(), "queue": Check(QueueUnavailable("internal-host")), "secret": Check()}
    )
    answer = make_api(readiness=readiness).get("/readyz", key=None)

    assert answer.status_code == 503
    assert answer.body["code"] == "not_ready"
    assert answer.body["failing"] == ["queue"]
    assert "internal-host" not in answer.text


def test_a_hanging_check_counts_as_failing_and_runs_only_once(
    hanging: HangingCheck,
) -> None:
    clock = Seconds()
    readiness = Readiness({"table": Check(), "queue": hanging}, timeout_s=PASSES_S, monotonic=clock)

    assert readiness.failing() == ["queue"]
    clock.now += FRESH_FOR_S
    assert readiness.failing() == ["queue"]
    assert hanging.asked == 1


def test_a_dependency_that_recovers_is_ready_again(hanging: HangingCheck) -> None:
    clock = Seconds()
    readiness = Readiness({"queue": hanging}, timeout_s=PASSES_S, monotonic=clock)
    assert readiness.failing() == ["queue"]

    hanging.released.set()
    clock.now += FRESH_FOR_S
    readiness.failing()  # the late answer
    clock.now += FRESH_FOR_S
    assert readiness.failing() == []


def test_many_requests_cost_one_check_per_second() -> None:
    clock, check = Seconds(), Check()
    readiness = Readiness({"table": check}, monotonic=clock)
    for _ in range(50):
        readiness.failing()
    assert check.asked == 1

    clock.now += FRESH_FOR_S
    readiness.failing()
    assert check.asked == 2


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
