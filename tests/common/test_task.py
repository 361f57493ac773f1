"""The state machine, compared with an independent table of legal moves."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.config import WorkerConfig
from services.common.errors import (
    AttemptError,
    ImagingCrashed,
    ImagingTimeout,
    InternalError,
    SourceNotFound,
    SourceUnavailable,
    StorageFailed,
)
from services.common.task import (
    OPEN_SHARDS,
    SHORT_WAIT,
    TERMINAL,
    TRANSITIONS,
    Backoff,
    Failure,
    Move,
    Phase,
    Status,
    Wait,
    failure_of,
    is_task_id,
    shard_of,
    task_id_for,
)
from tests.tasks import BACKOFF, LIMITS, NOW, POLICY, new_task, task_in

LEGAL = {
    Move.CLAIM: {Phase.PENDING, Phase.RETRYING},
    Move.TAKE_OVER: {Phase.ABANDONED},
    Move.EXTEND: {Phase.LEASED, Phase.ABANDONED},
    Move.RELEASE: {Phase.LEASED, Phase.ABANDONED},
    Move.COMPLETE: {Phase.LEASED, Phase.ABANDONED},
    Move.FAIL: {Phase.LEASED, Phase.ABANDONED},
    Move.CANCEL: {Phase.PENDING, Phase.RETRYING, Phase.LEASED, Phase.ABANDONED},
    Move.RETRY: {Phase.FAILED, Phase.RETRYING, Phase.CANCELED},
}
CLAIMABLE = LEGAL[Move.CLAIM] | LEGAL[Move.TAKE_OVER]


@pytest.mark.parametrize("move", LEGAL)
@pytest.mark.parametrize("phase", Phase)
def test_a_move_is_legal_only_from_its_source_phases(move: Move, phase: Phase) -> None:
    assert task_in(phase).allows(move, NOW, limits=LIMITS) is (phase in LEGAL[move])


@pytest.mark.parametrize("phase", Phase)
def test_a_task_is_given_up_only_when_it_is_exhausted_and_unleased(phase: Phase) -> None:
    def is_given_up(**changes: Any) -> bool:
        return task_in(phase, **changes).allows(Move.GIVE_UP, NOW, limits=LIMITS)

    assert not is_given_up()
    assert not is_given_up(attempt=1_000)
    assert is_given_up(deadline_at=NOW) is (phase in CLAIMABLE)
    expired = {"expired_leases": LIMITS.expired_leases}
    assert is_given_up(**expired) is (phase is Phase.ABANDONED)


def test_a_task_is_taken_over_only_so_many_times() -> None:
    def is_taken_over(expired_leases: int) -> bool:
        task = task_in(Phase.ABANDONED, expired_leases=expired_leases)
        return task.allows(Move.TAKE_OVER, NOW, limits=LIMITS)

    assert is_taken_over(LIMITS.expired_leases - 1)
    assert not is_taken_over(LIMITS.expired_leases)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING])
def test_a_task_is_claimed_when_its_wait_has_ended_and_its_deadline_has_not(phase: Phase) -> None:
    def is_claimed(**changes: Any) -> bool:
        return task_in(phase, **changes).allows(Move.CLAIM, NOW, limits=LIMITS)

    assert is_claimed(next_attempt_at=NOW)
    assert not is_claimed(next_attempt_at=NOW + timedelta(milliseconds=1))
    assert not is_claimed(deadline_at=NOW)
    assert is_claimed(attempt=1_000, expired_leases=LIMITS.expired_leases)


def test_completed_is_final_and_only_a_retry_leaves_failed_or_canceled() -> None:
    leaving: dict[Phase, set[Move]] = {phase: set() for phase in Phase}
    for move, transition in TRANSITIONS.items():
        for source in transition.sources:
            leaving[source].add(move)
    assert leaving[Phase.COMPLETED] == set()
    assert leaving[Phase.FAILED] == leaving[Phase.CANCELED] == {Move.RETRY}


def test_a_lease_expires_exactly_at_lease_until() -> None:
    leased = task_in(Phase.LEASED, lease_until=NOW)
    assert leased.phase(NOW - timedelta(milliseconds=1)) is Phase.LEASED
    assert leased.phase(NOW) is Phase.ABANDONED


@pytest.mark.parametrize("phase", Phase)
def test_a_failed_task_that_will_be_retried_is_not_final(phase: Phase) -> None:
    task = task_in(phase)
    is_final = task.status in TERMINAL and phase is not Phase.RETRYING
    assert task.is_terminal() is is_final


def test_a_new_task_follows_the_submission_policy() -> None:
    task = new_task()
    assert task.status is Status.PENDING
    assert task.attempt == 0
    assert task.deadline_at == NOW + POLICY.deadline
    assert task.check_at == NOW + POLICY.first_check
    assert task.expires_at == task.deadline_at + POLICY.retention


def fail(error: AttemptError, *, jitter: float = 0.5, **changes: Any) -> Failure:
    return failure_of(
        task_in(Phase.LEASED, **changes),
        error,
        limits=LIMITS,
        backoff=BACKOFF,
        jitter=jitter,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("error", "counter", "limit"),
    [
        (SourceUnavailable("503"), "source_failures", LIMITS.source_failures),
        (ImagingCrashed("killed"), "crashes", LIMITS.crashes),
        (ImagingTimeout("slow"), "crashes", LIMITS.crashes),
    ],
)
def test_each_kind_of_failure_has_a_limit_of_its_own(
    error: AttemptError, counter: str, limit: int
) -> None:
    before_the_last = fail(error, **{counter: limit - 2}, attempt=1_000)
    assert (before_the_last.counter, before_the_last.count) == (counter, limit - 1)
    assert before_the_last.wait is not None
    assert fail(error, **{counter: limit - 1}).wait is None
    others = {"source_failures": 99, "crashes": 99, "other_failures": 99, "expired_leases": 99}
    assert fail(error, **{**others, counter: 0}).wait is not None


@pytest.mark.parametrize("error", [StorageFailed("S3"), InternalError("bug")])
def test_other_failures_of_ours_are_retried_until_the_deadline(error: AttemptError) -> None:
    assert fail(error, other_failures=1_000).wait is not None
    assert fail(error, deadline_at=NOW + timedelta(seconds=5)).wait is None


def test_a_failure_of_the_client_is_not_retried() -> None:
    failure = fail(SourceNotFound("404"))
    assert failure.wait is None
    assert (failure.code, failure.reason) == ("source_not_found", "404")


def test_no_retry_is_scheduled_after_the_deadline() -> None:
    deadline = {"deadline_at": NOW + timedelta(seconds=10)}
    assert fail(SourceUnavailable("503"), jitter=0.9, **deadline).wait is not None
    assert fail(SourceUnavailable("503"), jitter=1.0, **deadline).wait is None


@pytest.mark.parametrize(("asked_s", "waits_s"), [(20.0, 20), (3_600.0, 3_600), (0.0, 7.5)])
def test_a_source_is_not_asked_earlier_than_it_said(asked_s: float, waits_s: float) -> None:
    wait = fail(SourceUnavailable("429", retry_after_s=asked_s)).wait
    assert wait == Wait.of(NOW + timedelta(seconds=waits_s), now=NOW)


@pytest.mark.parametrize("asked_s", [86_400.0, 1e30])
def test_a_source_that_asks_for_a_wait_beyond_the_deadline_fails_the_task(asked_s: float) -> None:
    assert fail(SourceUnavailable("429", retry_after_s=asked_s)).wait is None


def test_a_message_stays_in_the_queue_during_short_waits_only() -> None:
    assert Wait.of(NOW + SHORT_WAIT, now=NOW).in_queue
    assert not Wait.of(NOW + SHORT_WAIT + timedelta(milliseconds=1), now=NOW).in_queue


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_at_least_half_of_its_ceiling(failures: int, jitter: float) -> None:
    ceiling = min(BACKOFF.cap, BACKOFF.base * float(2 ** min(failures - 1, 20)))
    delay = BACKOFF.delay(failures, jitter)
    assert ceiling / 2 <= delay <= ceiling


def test_with_the_defaults_a_source_may_be_down_for_30_minutes() -> None:
    """However the jitter falls, and although each failure takes no time."""
    worker_config = WorkerConfig(
        aws_region="eu-west-1",
        task_table="t",
        task_queue_url="q",
        dead_letter_queue_url="d",
        result_bucket="b",
    )
    backoff = Backoff(
        base=timedelta(seconds=worker_config.retry_backoff_base_s),
        cap=timedelta(seconds=worker_config.retry_backoff_cap_s),
    )
    waits = range(1, worker_config.failure_limits().source_failures)
    shortest = sum((backoff.delay(failures, 0.0) for failures in waits), timedelta())
    assert shortest > timedelta(minutes=30)


def test_an_idempotency_key_maps_to_one_task_id_per_client() -> None:
    assert task_id_for("alice", "k") == task_id_for("alice", "k")
    assert task_id_for("alice", "k") != task_id_for("bob", "k")
    assert is_task_id(task_id_for("alice", "k"))


@pytest.mark.parametrize(
    "text",
    ["", "x", "6E1F7A4E-0000-4000-8000-000000000001", "{6e1f7a4e-0000-4000-8000-000000000001}"],
)
def test_only_the_canonical_spelling_is_a_task_id(text: str) -> None:
    assert not is_task_id(text)


def test_tasks_spread_evenly_over_the_shards() -> None:
    counts = [0] * OPEN_SHARDS
    for number in range(6_400):
        counts[shard_of(f"task-{number}", OPEN_SHARDS)] += 1
    assert min(counts) > 50
    assert max(counts) < 150
