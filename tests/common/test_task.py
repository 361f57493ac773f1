"""The state machine, compared with an independent table of legal moves."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import SourceNotFound, SourceUnavailable, StorageFailed
from services.common.task import (
    OPEN_SHARDS,
    TERMINAL,
    TRANSITIONS,
    Backoff,
    Move,
    Phase,
    Status,
    failure_of,
    is_task_id,
    next_check,
    shard_of,
    task_id_for,
)
from tests.tasks import NOW, POLICY, new_task, task_in

LEGAL = {
    Move.CLAIM: {Phase.PENDING, Phase.RETRYING, Phase.ABANDONED},
    Move.EXTEND: {Phase.LEASED, Phase.ABANDONED},
    Move.RELEASE: {Phase.LEASED, Phase.ABANDONED},
    Move.COMPLETE: {Phase.LEASED, Phase.ABANDONED},
    Move.FAIL: {Phase.LEASED, Phase.ABANDONED},
    Move.CANCEL: {Phase.PENDING, Phase.RETRYING, Phase.LEASED, Phase.ABANDONED},
    Move.RETRY: {Phase.FAILED, Phase.RETRYING, Phase.CANCELED},
}
BACKOFF = Backoff(base=timedelta(seconds=5), cap=timedelta(seconds=300))


@pytest.mark.parametrize("move", LEGAL)
@pytest.mark.parametrize("phase", Phase)
def test_a_move_is_legal_only_from_its_source_phases(move: Move, phase: Phase) -> None:
    assert task_in(phase).allows(move, NOW) is (phase in LEGAL[move])


@pytest.mark.parametrize("phase", Phase)
def test_a_task_is_given_up_only_when_it_is_exhausted_and_unleased(phase: Phase) -> None:
    claimable = phase in LEGAL[Move.CLAIM]
    assert not task_in(phase).allows(Move.GIVE_UP, NOW)
    assert task_in(phase, attempt=5).allows(Move.GIVE_UP, NOW) is claimable
    assert task_in(phase, deadline_at=NOW).allows(Move.GIVE_UP, NOW) is claimable


def test_an_exhausted_task_cannot_be_claimed() -> None:
    assert not task_in(Phase.PENDING, attempt=5).allows(Move.CLAIM, NOW)
    assert not task_in(Phase.PENDING, deadline_at=NOW).allows(Move.CLAIM, NOW)


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
    assert task.attempt_limit == 5
    assert task.deadline_at == NOW + POLICY.deadline
    assert task.check_at == NOW + POLICY.first_check
    assert task.expires_at == task.deadline_at + POLICY.retention


def test_a_transient_failure_is_retried_while_attempts_and_time_remain() -> None:
    def retry_in(attempt: int, jitter: float = 1.0) -> timedelta | None:
        task = task_in(Phase.LEASED, attempt=attempt)
        error = SourceUnavailable("503")
        return failure_of(task, error, backoff=BACKOFF, jitter=jitter, now=NOW).retry_in

    assert [retry_in(attempt) for attempt in (1, 2, 3, 4)] == [
        timedelta(seconds=5 * 2**n) for n in range(4)
    ]
    assert retry_in(3, jitter=0.5) == timedelta(seconds=10)
    assert retry_in(5) is None


def test_our_faults_are_retried_and_client_faults_are_not() -> None:
    task = task_in(Phase.LEASED)
    ours = failure_of(task, StorageFailed("S3"), backoff=BACKOFF, jitter=0.5, now=NOW)
    clients = failure_of(task, SourceNotFound("404"), backoff=BACKOFF, jitter=0.5, now=NOW)
    assert ours.retry_in is not None
    assert clients.retry_in is None
    assert (clients.code, clients.reason) == ("source_not_found", "404")


def test_no_retry_is_scheduled_after_the_deadline() -> None:
    task = task_in(Phase.LEASED, deadline_at=NOW + timedelta(seconds=5))
    error = SourceUnavailable("503")
    assert failure_of(task, error, backoff=BACKOFF, jitter=0.9, now=NOW).retry_in is not None
    assert failure_of(task, error, backoff=BACKOFF, jitter=1.0, now=NOW).retry_in is None


@given(attempt=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_between_zero_and_its_cap(attempt: int, jitter: float) -> None:
    assert timedelta() <= BACKOFF.delay(attempt, jitter) <= BACKOFF.cap


def test_the_gap_between_checks_quadruples_up_to_the_deadline() -> None:
    task, now, gaps = new_task(), NOW, []
    while task.check_at is not None and task.check_at < task.deadline_at:
        now = task.check_at
        check_at, gap = next_check(task, now)
        gaps.append((check_at - now) / timedelta(minutes=1))
        task = new_task(check_at=check_at, check_gap=gap)
    assert gaps == [60, 240, 960, pytest.approx(24 * 60 - 15 - 60 - 240 - 960)]


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
