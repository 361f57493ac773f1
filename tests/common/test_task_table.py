"""The conditional writes on moto's table, compared with the pure state machine."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.common.errors import ImagingBusy, LeaseLost, RowUnreadable
from services.common.task import Move, Phase, Status, Task, Wait
from services.common.task_queue import Envelope
from services.common.task_record import from_item, to_item
from services.common.task_table import OpenTask, TaskTable, TransitionRefused
from tests.conftest import Cloud
from tests.moves import CLAIM, EXHAUSTED, make_move
from tests.tasks import (
    FAILURE,
    LEASE,
    LIMITS,
    NOW,
    POLICY,
    RESULT,
    RETRY_LATER,
    new_task,
    task_in,
)


def write(cloud: Cloud, task: Task) -> Task:
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    return task


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expired_leases": LIMITS.expired_leases},
        {"expired_leases": LIMITS.expired_leases - 1},
        {"deadline_at": NOW},
        {"next_attempt_at": NOW},
        {"next_attempt_at": NOW + timedelta(milliseconds=1)},
    ],
)
@pytest.mark.parametrize("phase", Phase)
def test_the_table_allows_exactly_the_moves_of_the_state_machine(
    cloud: Cloud, table: TaskTable, phase: Phase, changes: dict[str, Any]
) -> None:
    task = task_in(phase, updated_at=NOW - timedelta(seconds=1), **changes)
    for move in Move:
        write(cloud, task)
        try:
            make_move(table, move, task)
            allowed = True
        except (TransitionRefused, LeaseLost):
            allowed = False
        # Canceling a canceled task changes nothing and is not an error.
        expected = task.allows(move, NOW, limits=LIMITS) or (move, phase) == (
            Move.CANCEL,
            Phase.CANCELED,
        )
        assert allowed is expected, move


def test_a_task_survives_a_round_trip_through_the_table(cloud: Cloud, table: TaskTable) -> None:
    for phase in Phase:
        task = task_in(phase, operations=[{"name": "rotate", "angle": 12.5, "n": 3}])
        write(cloud, task)
        assert table.get(task.task_id) == task


def test_an_unknown_task_is_none(table: TaskTable) -> None:
    assert table.get("unknown") is None


def test_creating_an_existing_id_returns_the_existing_row(table: TaskTable) -> None:
    first = new_task()
    assert table.create(first) == first
    assert table.create(replace(first, request_id="another")) == first
    assert table.get(first.task_id) == first


def test_a_claim_increments_attempt_and_sets_the_lease_owner(table: TaskTable) -> None:
    table.create(new_task())
    claim = table.claim(new_task().task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    assert (claim.status, claim.attempt, claim.lease_owner) == (Status.RUNNING, 1, "w")
    assert claim.started_at == NOW
    later = NOW + LEASE
    second = take_over(table, claim, lease_owner="v", now=later)
    assert (second.attempt, second.lease_owner, second.started_at) == (2, "v", NOW)
    assert second.expired_leases == 1


def take_over(table: TaskTable, task: Task, *, lease_owner: str, now: datetime) -> Task:
    return table.take_over(
        task.task_id, lease_owner=lease_owner, lease_until=now + LEASE, now=now, limits=LIMITS
    )


@pytest.mark.parametrize("winner", [{"lease_owner": "other"}, {"attempt": 2}])
def test_a_late_worker_cannot_overwrite_the_winner(
    cloud: Cloud, table: TaskTable, winner: dict[str, Any]
) -> None:
    row = write(cloud, task_in(Phase.LEASED, **winner))
    loser = replace(row, **CLAIM)
    with pytest.raises(LeaseLost):
        table.complete(loser, RESULT, now=NOW)
    with pytest.raises(LeaseLost):
        table.fail(loser, FAILURE, now=NOW)
    with pytest.raises(LeaseLost):
        table.extend(loser, lease_until=NOW + LEASE, now=NOW)
    with pytest.raises(LeaseLost):
        table.release(loser, now=NOW)
    assert table.get(row.task_id) == row


def test_a_move_whose_response_was_lost_is_recognized(table: TaskTable) -> None:
    task_id = table.create(new_task()).task_id
    for _ in range(2):
        claim = table.claim(task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
        assert claim.attempt == 1
    for _ in range(2):
        table.complete(claim, RESULT, now=NOW)
    for _ in range(2):
        table.cancel(table.create(new_task("b")).task_id, now=NOW)
    later = NOW + timedelta(seconds=1)
    for _ in range(2):
        retried = table.retry("b", policy=POLICY, now=later)
        assert retried.status is Status.PENDING
    claim = table.claim("b", lease_owner="x", lease_until=NOW + LEASE, now=NOW)
    for _ in range(2):
        table.fail(claim, RETRY_LATER, now=NOW)
    later = NOW + LEASE
    claim = table.claim("b", lease_owner="y", lease_until=later + LEASE, now=later)
    for _ in range(2):
        assert take_over(table, claim, lease_owner="z", now=later + LEASE).expired_leases == 1
    claim = replace(claim, lease_owner="z", attempt=claim.attempt + 1)
    for _ in range(2):
        table.release(claim, now=NOW)


def test_a_retry_whose_response_was_lost_is_recognized_after_a_claim(
    cloud: Cloud, table: TaskTable
) -> None:
    task_id = write(cloud, task_in(Phase.CANCELED)).task_id
    later = NOW + timedelta(seconds=1)
    table.retry(task_id, policy=POLICY, now=later)
    claim = table.claim(task_id, lease_owner="w", lease_until=later + LEASE, now=later)
    assert table.retry(task_id, policy=POLICY, now=later) == claim
    with pytest.raises(TransitionRefused):
        table.retry(task_id, policy=POLICY, now=later + timedelta(milliseconds=1))


def test_giving_up_twice_is_refused(cloud: Cloud, table: TaskTable) -> None:
    task = write(cloud, task_in(Phase.ABANDONED, deadline_at=NOW))
    table.give_up(task.task_id, EXHAUSTED, now=NOW, limits=LIMITS)
    later = NOW + timedelta(milliseconds=1)
    with pytest.raises(TransitionRefused):
        table.give_up(task.task_id, EXHAUSTED, now=later, limits=LIMITS)


def test_a_released_task_can_be_claimed_at_once_and_fences_the_first_claim(
    table: TaskTable,
) -> None:
    task_id = table.create(new_task()).task_id
    claim = table.claim(task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    table.release(claim, now=NOW)
    with pytest.raises(LeaseLost):
        table.complete(claim, RESULT, now=NOW)
    second = table.claim(task_id, lease_owner="v", lease_until=NOW + LEASE, now=NOW)
    assert (second.attempt, second.expired_leases) == (2, 0)


def test_a_released_task_waits_with_the_reason(table: TaskTable) -> None:
    task_id = table.create(new_task()).task_id
    claim = table.claim(task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    reason = ImagingBusy("All are busy.", retry_after_s=5)
    table.release(claim, now=NOW, wait=Wait(NOW + LEASE, in_queue=True), reason=reason)
    row = table.get(task_id)
    assert row is not None
    assert (row.status, row.next_attempt_at) == (Status.PENDING, NOW + LEASE)
    assert (row.failure_code, row.failure_reason) == ("imaging_busy", "All are busy.")
    with pytest.raises(TransitionRefused):
        table.claim(task_id, lease_owner="v", lease_until=NOW + LEASE, now=NOW)
    later = NOW + LEASE
    claim = table.claim(task_id, lease_owner="v", lease_until=later + LEASE, now=later)
    assert (claim.next_attempt_at, claim.failure_code) == (None, None)


def open_ids(table: TaskTable, task: Task) -> list[str]:
    assert task.open_shard is not None
    later = NOW + timedelta(days=365)
    open_tasks = [
        *table.unsent_tasks(task.open_shard, later),
        *table.sent_tasks(task.open_shard, later),
    ]
    return [task.task_id for task in open_tasks]


def test_the_index_says_what_open_tasks_need(table: TaskTable) -> None:
    sent = table.create(new_task("sent", open_shard=7))
    unsent = table.create(new_task("unsent", open_shard=7, unsent=True, check_at=NOW))
    assert sent.check_at is not None
    just_before = sent.check_at - timedelta(milliseconds=1)

    def ids(tasks: Iterable[OpenTask]) -> list[str]:
        return [task.task_id for task in tasks]

    assert ids(table.unsent_tasks(7, NOW)) == ["unsent"]
    assert ids(table.sent_tasks(7, just_before)) == []
    assert list(table.sent_tasks(7, sent.check_at)) == [
        OpenTask("sent", sent.check_at, sent.deadline_at)
    ]
    assert table.count_sent(7, checked_before=just_before) == 0
    assert table.count_sent(7, checked_before=sent.check_at) == 1
    assert list(table.overdue_task_ids(7, sent.check_at)) == []
    assert set(table.overdue_task_ids(7, unsent.deadline_at)) == {"sent", "unsent"}


@pytest.mark.parametrize("end", [Move.COMPLETE, Move.FAIL, Move.CANCEL, Move.GIVE_UP])
def test_a_final_task_leaves_the_index_and_gets_a_ttl(
    cloud: Cloud, table: TaskTable, end: Move
) -> None:
    task = new_task()
    state = Phase.ABANDONED if end is Move.GIVE_UP else Phase.LEASED
    deadline = {"deadline_at": NOW} if end is Move.GIVE_UP else {}
    write(cloud, task_in(state, unsent=True, next_attempt_at=NOW, **deadline))
    make_move(table, end, task)
    row = table.get(task.task_id)
    assert row is not None
    assert open_ids(table, task) == []
    assert (row.check_at, row.lease_owner, row.lease_until, row.next_attempt_at) == (None,) * 4
    assert not row.unsent
    assert row.finished_at == NOW
    assert row.expires_at == NOW + POLICY.retention


def test_a_failure_that_will_be_retried_stays_open_with_its_reason(
    cloud: Cloud, table: TaskTable
) -> None:
    claim = write(cloud, task_in(Phase.LEASED))
    table.fail(claim, RETRY_LATER, now=NOW)
    row = table.get(claim.task_id)
    assert row is not None
    assert (row.status, row.will_retry) == (Status.FAILED, True)
    assert (row.failure_code, row.failure_reason) == (RETRY_LATER.code, RETRY_LATER.reason)
    assert (row.source_failures, row.next_attempt_at) == (2, NOW + LEASE)
    assert (row.unsent, row.check_at) == (False, claim.check_at)
    assert row.finished_at is None
    assert open_ids(table, claim) == [claim.task_id]


@pytest.mark.parametrize("until", [NOW + timedelta(hours=1), NOW + timedelta(days=2)])
def test_after_a_long_wait_the_reconciler_sends_the_message(
    cloud: Cloud, table: TaskTable, until: datetime
) -> None:
    claim = write(cloud, task_in(Phase.LEASED))
    table.fail(claim, replace(RETRY_LATER, wait=Wait(until, in_queue=False)), now=NOW)
    row = table.get(claim.task_id)
    assert row is not None
    assert (row.unsent, row.next_attempt_at) == (True, until)
    assert row.check_at == min(until, claim.deadline_at)


def test_a_retry_keeps_the_attempt_count_and_reopens_the_task(
    cloud: Cloud, table: TaskTable
) -> None:
    counters: dict[str, Any] = {
        "source_failures": 5,
        "crashes": 3,
        "expired_leases": 4,
        "other_failures": 2,
    }
    failed = write(cloud, task_in(Phase.FAILED, attempt=5, **counters))
    later = NOW + timedelta(days=3)
    row = table.retry(failed.task_id, policy=POLICY, now=later)
    assert (row.status, row.attempt) == (Status.PENDING, 5)
    assert (row.source_failures, row.crashes, row.expired_leases, row.other_failures) == (0,) * 4
    assert row.deadline_at == later + POLICY.deadline
    assert row.check_at == later + POLICY.first_check
    assert (row.failure_code, row.failure_reason, row.finished_at) == (None, None, None)
    assert open_ids(table, new_task()) == [failed.task_id]


def due(task: Task) -> OpenTask:
    assert task.check_at is not None
    return OpenTask(task.task_id, task.check_at, task.deadline_at)


def test_only_one_reconciler_may_send_a_task(table: TaskTable) -> None:
    task = table.create(new_task(unsent=True, check_at=NOW))
    next_check = NOW + timedelta(hours=1)

    def take(name: str) -> Envelope | None:
        return table.take_for_sending(due(task), next_check=next_check, taken_by=name)

    envelope = Envelope(task.task_id, request_id=task.request_id, owner=task.owner)
    assert [take("a"), take("b")] == [envelope, None]
    assert take("a"), "boto3 sends the write again if its first response is lost"
    row = table.get(task.task_id)
    assert row is not None
    assert (row.unsent, row.check_at) == (False, next_check)
    for name, restored in (("b", False), ("a", True)):
        table.restore_unsent(task.task_id, next_check=next_check, taken_by=name, now=NOW)
        row = table.get(task.task_id)
        assert row is not None
        assert row.unsent is restored


def test_a_final_task_is_not_sent(table: TaskTable) -> None:
    task = table.create(new_task())
    table.cancel(task.task_id, now=NOW)
    assert table.take_for_sending(due(task), next_check=NOW, taken_by="a") is None
    assert open_ids(table, task) == []


@pytest.mark.parametrize(
    "changes",
    [{"status": {"S": "PAUSED"}}, {"attempt": {"S": "one"}}, {"createdAt": {"S": "yesterday"}}],
)
def test_a_row_of_a_newer_version_is_reported_as_unreadable(
    cloud: Cloud, table: TaskTable, changes: dict[str, Any]
) -> None:
    item = {**to_item(new_task()), **changes}
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=item)
    task_id = new_task().task_id
    with pytest.raises(RowUnreadable):
        table.get(task_id)
    write(cloud, new_task("another"))
    rows = dict(table.get_many([task_id, "another", "missing"]))
    assert isinstance(rows.pop(task_id), RowUnreadable)
    assert rows == {"another": new_task("another")}


def test_an_attribute_of_a_newer_version_is_ignored() -> None:
    assert from_item({**to_item(new_task()), "novelty": {"S": "?"}}) == new_task()


def test_a_row_has_the_documented_attributes(cloud: Cloud) -> None:
    item = to_item(task_in(Phase.LEASED))
    assert item["status"] == {"S": "RUNNING"}
    assert item["createdAt"] == {"S": "2026-01-02T03:04:05.678Z"}
    assert item["leaseUntil"] == {"N": "1767323045.679"}
    assert item["openShard"].keys() == item["checkAt"].keys() == {"N"}
    assert item["inputImageUrl"] == {"S": "https://example.com/a.jpg"}
    assert from_item(item) == task_in(Phase.LEASED)


def test_an_unsent_task_is_due_at_once_until_a_worker_claims_it(table: TaskTable) -> None:
    task = table.create(new_task())
    assert table.record_unsent(task, now=NOW)
    row = table.get(task.task_id)
    assert row is not None
    assert (row.unsent, row.check_at) == (True, NOW)
    claim = table.claim(task.task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    assert not claim.unsent
    assert not table.record_unsent(task, now=NOW)


def test_a_submission_or_a_retry_can_leave_its_message_to_the_reconciler(
    table: TaskTable,
) -> None:
    task = new_task(unsent=True, check_at=NOW)
    assert (task.unsent, task.check_at) == (True, NOW)
    assert table.create(task) == task
    table.cancel(task.task_id, now=NOW)
    later = NOW + timedelta(seconds=1)
    retried = table.retry(task.task_id, policy=POLICY, now=later, unsent=True)
    assert (retried.unsent, retried.check_at) == (True, later)
    table.cancel(task.task_id, now=later)
    again = table.retry(task.task_id, policy=POLICY, now=later + LEASE)
    assert (again.unsent, again.check_at) == (False, later + LEASE + POLICY.first_check)
