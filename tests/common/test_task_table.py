"""The conditional writes on moto's table, compared with the pure state machine."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.common.errors import LeaseLost
from services.common.task import Failure, Move, Phase, Status, Task
from services.common.task_record import from_item, to_item
from services.common.task_table import TaskTable, TransitionRefused
from tests.conftest import Cloud
from tests.moves import CLAIM, EXHAUSTED, make_move
from tests.tasks import LEASE, NOW, POLICY, RESULT, new_task, task_in


def write(cloud: Cloud, task: Task) -> Task:
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    return task


@pytest.mark.parametrize("changes", [{}, {"attempt_limit": 1, "attempt": 1}, {"deadline_at": NOW}])
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
        expected = task.allows(move, NOW) or (move, phase) == (Move.CANCEL, Phase.CANCELED)
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
    second = table.claim(claim.task_id, lease_owner="v", lease_until=later + LEASE, now=later)
    assert (second.attempt, second.lease_owner, second.started_at) == (2, "v", NOW)


@pytest.mark.parametrize("winner", [{"lease_owner": "other"}, {"attempt": 2}])
def test_a_late_worker_cannot_overwrite_the_winner(
    cloud: Cloud, table: TaskTable, winner: dict[str, Any]
) -> None:
    row = write(cloud, task_in(Phase.LEASED, **winner))
    loser = replace(row, **CLAIM)
    with pytest.raises(LeaseLost):
        table.complete(loser, RESULT, now=NOW)
    with pytest.raises(LeaseLost):
        table.fail(loser, Failure("code", "reason"), now=NOW)
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
        assert (retried.status, retried.attempt_limit) == (Status.PENDING, 5)
    claim = table.claim("b", lease_owner="x", lease_until=NOW + LEASE, now=NOW)
    for _ in range(2):
        table.fail(claim, Failure("code", "reason", timedelta(1)), now=NOW)
    claim = table.claim("b", lease_owner="y", lease_until=NOW + LEASE, now=NOW)
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
    task = write(cloud, task_in(Phase.ABANDONED, attempt=5))
    table.give_up(task.task_id, EXHAUSTED, now=NOW)
    with pytest.raises(TransitionRefused):
        table.give_up(task.task_id, EXHAUSTED, now=NOW + timedelta(milliseconds=1))


def test_a_released_task_can_be_claimed_at_once_and_fences_the_first_claim(
    table: TaskTable,
) -> None:
    task_id = table.create(new_task()).task_id
    claim = table.claim(task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    table.release(claim, now=NOW)
    with pytest.raises(LeaseLost):
        table.complete(claim, RESULT, now=NOW)
    second = table.claim(task_id, lease_owner="v", lease_until=NOW + LEASE, now=NOW)
    assert second.attempt == 2


def open_ids(table: TaskTable, task: Task) -> list[str]:
    assert task.open_shard is not None
    return list(table.due_task_ids(task.open_shard, NOW + timedelta(days=365)))


def test_the_index_lists_open_tasks_when_they_are_due(cloud: Cloud, table: TaskTable) -> None:
    task = table.create(new_task())
    assert task.open_shard is not None
    assert task.check_at is not None
    assert list(table.due_task_ids(task.open_shard, task.check_at - timedelta(seconds=1))) == []
    assert list(table.due_task_ids(task.open_shard, task.check_at)) == [task.task_id]


@pytest.mark.parametrize("end", [Move.COMPLETE, Move.FAIL, Move.CANCEL, Move.GIVE_UP])
def test_a_final_task_leaves_the_index_and_gets_a_ttl(
    cloud: Cloud, table: TaskTable, end: Move
) -> None:
    task = new_task()
    state = Phase.ABANDONED if end is Move.GIVE_UP else Phase.LEASED
    write(cloud, task_in(state, attempt=5 if end is Move.GIVE_UP else 1))
    make_move(table, end, task)
    row = table.get(task.task_id)
    assert row is not None
    assert open_ids(table, task) == []
    assert (row.check_at, row.check_gap, row.lease_owner, row.lease_until) == (None,) * 4
    assert row.finished_at == NOW
    assert row.expires_at == NOW + POLICY.retention


def test_a_failure_that_will_be_retried_stays_open_with_its_reason(
    cloud: Cloud, table: TaskTable
) -> None:
    claim = write(cloud, task_in(Phase.LEASED))
    table.fail(claim, Failure("source_unavailable", "503", LEASE), now=NOW)
    row = table.get(claim.task_id)
    assert row is not None
    assert (row.status, row.will_retry) == (Status.FAILED, True)
    assert (row.failure_code, row.failure_reason) == (
        "source_unavailable",
        "503",
    )
    assert row.finished_at is None
    assert open_ids(table, claim) == [claim.task_id]


def test_a_retry_keeps_the_attempt_count_and_reopens_the_task(
    cloud: Cloud, table: TaskTable
) -> None:
    failed = write(cloud, task_in(Phase.FAILED, attempt=5))
    later = NOW + timedelta(days=3)
    row = table.retry(failed.task_id, policy=POLICY, now=later)
    assert (row.status, row.attempt, row.attempt_limit) == (Status.PENDING, 5, 10)
    assert row.deadline_at == later + POLICY.deadline
    assert row.check_at == later + POLICY.first_check
    assert (row.failure_code, row.failure_reason, row.finished_at) == (None, None, None)
    assert open_ids(table, new_task()) == [failed.task_id]


def test_only_one_reconciler_wins_a_check(table: TaskTable) -> None:
    task = table.create(new_task())
    check_at = NOW + timedelta(hours=1)

    def schedule(name: str) -> bool:
        return table.schedule_check(
            task, check_at=check_at, gap=timedelta(hours=1), checked_by=name
        )

    assert [schedule("a"), schedule("b")] == [True, False]
    assert schedule("a"), "boto3 sends the write again if its first response is lost"
    row = table.get(task.task_id)
    assert row is not None
    assert (row.check_at, row.check_gap) == (check_at, timedelta(hours=1))


def test_a_final_task_cannot_be_scheduled_for_a_check(cloud: Cloud, table: TaskTable) -> None:
    task = table.create(new_task())
    table.cancel(task.task_id, now=NOW)
    assert not table.schedule_check(task, check_at=NOW, gap=timedelta(), checked_by="a")
    assert open_ids(table, task) == []


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
