"""The reconciler against moto: which tasks it resends, fails or leaves alone."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import structlog

from services.common.errors import QueueUnavailable
from services.common.task import Phase, Status, Task
from services.common.task_queue import TaskQueue
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from services.common.telemetry import Metric
from services.worker.reconciler import ReconcilePolicy, Reconciler, ReconcileReport
from tests.broken_aws import BrokenQueue, UnreachableQueue
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, LIMITS, NOW, POLICY, envelope, new_task, task_in

COUNT_LAG = timedelta(minutes=1)
DUE: dict[str, Any] = {"check_at": NOW}


@pytest.fixture
def reconciler(
    table: TaskTable, queue: TaskQueue, dead_letters: TaskQueue, clock: Clock
) -> Reconciler:
    return make_reconciler(table, queue, dead_letters, clock)


def make_reconciler(
    table: TaskTable, queue: TaskQueue, dead_letters: TaskQueue, clock: Clock
) -> Reconciler:
    return Reconciler(
        name=str(uuid4()),
        table=table,
        queue=queue,
        dead_letters=dead_letters,
        policy=ReconcilePolicy(
            lease=LEASE, recheck=POLICY.first_check, count_lag=COUNT_LAG, limits=LIMITS
        ),
        clock=clock,
        shuffle=random.Random(1).shuffle,
    )


def write(cloud: Cloud, task: Task) -> Task:
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    return task


def row_of(table: TaskTable, task: Task) -> Task:
    row = table.get(task.task_id)
    assert row is not None
    return row


# ── Unsent tasks ──────────────────────────────────────────────────────────────────────────────


def test_an_unsent_task_is_sent_once(
    table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    task = table.create(new_task(unsent=True, **DUE))
    assert reconciler.run().sent == 1
    clock.advance(COUNT_LAG)
    assert reconciler.run() == ReconcileReport(queued=1)
    [message] = queue.receive(limit=10, wait_s=0)
    assert (message.task_id, message.request_id) == (task.task_id, task.request_id)
    row = row_of(table, task)
    assert (row.unsent, row.check_at) == (False, NOW + POLICY.first_check)


@pytest.mark.parametrize("backlog", [0, 1, 60])
def test_an_unsent_task_is_sent_whatever_the_backlog(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, reconciler: Reconciler, backlog: int
) -> None:
    for number in range(backlog):
        queue.send(envelope(table.create(new_task(f"waiting-{number}")).task_id, request_id="r"))
    for number in range(25):
        table.create(new_task(f"unsent-{number}", unsent=True, **DUE))
    assert reconciler.run().sent == 25
    assert cloud.messages()["queue"] == backlog + 25


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING])
def test_a_task_is_sent_when_its_long_wait_ends(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler, clock: Clock, phase: Phase
) -> None:
    until = NOW + timedelta(hours=1)
    write(cloud, task_in(phase, unsent=True, next_attempt_at=until, check_at=until))
    clock.now = until - timedelta(milliseconds=1)
    assert reconciler.run() == ReconcileReport()
    clock.now = until
    assert reconciler.run().sent == 1


def test_concurrent_reconcilers_send_one_message_for_each_task(
    embedded_cloud: Cloud, clock: Clock
) -> None:
    cloud, resources = embedded_cloud, embedded_cloud.resources
    table = TaskTable(cloud.dynamodb, table=resources.task_table, retention=POLICY.retention)
    queue = TaskQueue(cloud.sqs, url=resources.task_queue_url)
    dead_letters = TaskQueue(cloud.sqs, url=resources.dead_letter_queue_url)
    for number in range(20):
        table.create(new_task(f"task-{number}", unsent=True, **DUE))
    start = threading.Barrier(3)

    def run() -> ReconcileReport:
        start.wait()
        return make_reconciler(table, queue, dead_letters, clock).run()

    with ThreadPoolExecutor(3) as reconcilers:
        reports = [report.result() for report in [reconcilers.submit(run) for _ in range(3)]]
    assert sum(report.sent for report in reports) == 20
    assert cloud.messages()["queue"] == 20


def test_a_message_that_could_not_be_sent_is_sent_by_the_next_run(
    table: TaskTable, dead_letters: TaskQueue, queue: TaskQueue, clock: Clock
) -> None:
    task = table.create(new_task(unsent=True, **DUE))
    with pytest.raises(QueueUnavailable):
        make_reconciler(table, BrokenQueue(), dead_letters, clock).run()
    assert row_of(table, task).unsent
    assert make_reconciler(table, queue, dead_letters, clock).run().sent == 1


# ── Lost messages ─────────────────────────────────────────────────────────────────────────────


def test_a_task_is_sent_again_if_the_queue_has_fewer_messages_than_there_are_tasks(
    table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    task = table.create(new_task())
    clock.advance(POLICY.first_check)
    assert reconciler.run().resent == 1
    assert reconciler.run().resent == 0
    [message] = queue.receive(limit=10, wait_s=0)
    assert message.task_id == task.task_id


@pytest.mark.parametrize("lost", [0, 1, 7])
def test_only_as_many_tasks_are_sent_again_as_messages_are_missing_from_a_deep_backlog(
    cloud: Cloud,
    table: TaskTable,
    queue: TaskQueue,
    reconciler: Reconciler,
    clock: Clock,
    lost: int,
) -> None:
    for number in range(lost):
        table.create(new_task(f"lost-{number}", check_at=NOW + timedelta(seconds=number)))
    for number in range(60):
        queue.send(envelope(table.create(new_task(f"waiting-{number}")).task_id, request_id="r"))
    clock.advance(2 * POLICY.first_check)
    assert reconciler.run().resent == lost
    assert cloud.messages()["queue"] == 60 + lost
    sent_last = [row_of(table, new_task(f"lost-{n}")).check_at for n in range(lost)]
    assert set(sent_last) <= {clock.now + POLICY.first_check}


def test_tasks_that_need_nothing_are_neither_read_nor_written(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    for number in range(10):
        queue.send(envelope(table.create(new_task(f"waiting-{number}")).task_id, request_id="r"))
    clock.advance(2 * POLICY.first_check)
    calls: list[str] = []
    cloud.dynamodb.meta.events.register(
        "before-call.dynamodb", lambda model, **_: calls.append(model.name)
    )
    assert reconciler.run() == ReconcileReport(queued=10)
    assert set(calls) == {"Query"}


def test_tasks_sent_within_the_last_minute_do_not_count_as_missing(
    table: TaskTable, reconciler: Reconciler, clock: Clock
) -> None:
    """The queue may not count their messages yet."""
    old = table.create(new_task("old"))
    clock.advance(2 * POLICY.first_check)
    for number in range(5):
        sent_at = clock.now - COUNT_LAG + timedelta(seconds=1)
        table.create(new_task(f"new-{number}", check_at=sent_at + POLICY.first_check))
    assert reconciler.run().resent == 1
    assert row_of(table, old).check_at == clock.now + POLICY.first_check


@pytest.mark.parametrize(
    ("phase", "changes", "missing_at"),
    [
        (Phase.LEASED, {"lease_until": NOW + LEASE}, NOW + 2 * LEASE),
        (Phase.ABANDONED, {"lease_until": NOW - LEASE / 2}, NOW + LEASE / 2),
        (Phase.RETRYING, {"next_attempt_at": NOW + LEASE}, NOW + 2 * LEASE),
        (Phase.PENDING, {"next_attempt_at": NOW + LEASE}, NOW + 2 * LEASE),
    ],
)
def test_a_task_whose_message_is_hidden_is_not_sent_again(
    cloud: Cloud,
    table: TaskTable,
    reconciler: Reconciler,
    clock: Clock,
    phase: Phase,
    changes: dict[str, Any],
    missing_at: datetime,
) -> None:
    write(cloud, task_in(phase, **DUE, **changes))
    clock.now = missing_at - timedelta(milliseconds=1)
    assert reconciler.run().resent == 0
    clock.now = missing_at
    assert reconciler.run().resent == 1


def test_a_task_whose_workers_kept_disappearing_is_failed(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler, clock: Clock
) -> None:
    task = write(cloud, task_in(Phase.ABANDONED, expired_leases=LIMITS.expired_leases, **DUE))
    clock.advance(LEASE)
    assert reconciler.run().given_up == 1
    row = row_of(table, task)
    assert (row.status, row.failure_code) == (Status.FAILED, "attempts_exhausted")


# ── Deadlines ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING, Phase.ABANDONED])
@pytest.mark.parametrize("unsent", [True, False])
def test_a_task_is_failed_at_its_deadline(
    cloud: Cloud,
    table: TaskTable,
    reconciler: Reconciler,
    phase: Phase,
    unsent: bool,  # noqa: FBT001
) -> None:
    task = write(cloud, task_in(phase, deadline_at=NOW, unsent=unsent, **DUE))
    assert reconciler.run() == ReconcileReport(given_up=1)
    row = row_of(table, task)
    assert (row.status, row.will_retry) == (Status.FAILED, False)
    assert row.failure_code == "deadline_passed"
    assert row.failure_reason
    assert cloud.messages()["queue"] == 0


def test_a_leased_task_past_its_deadline_is_logged_and_failed_when_its_lease_ends(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler, clock: Clock
) -> None:
    task = write(cloud, task_in(Phase.LEASED, deadline_at=NOW, lease_until=NOW + LEASE, **DUE))
    with structlog.testing.capture_logs() as entries:
        report = reconciler.run()
    assert (report.overdue, report.given_up) == (1, 0)
    # The alarm's description refers to this event.
    assert [entry["task_id"] for entry in entries if entry["event"] == "task overdue"] == [
        task.task_id
    ]
    assert row_of(table, task).status is Status.RUNNING
    clock.advance(LEASE)
    assert reconciler.run().given_up == 1


def test_a_deadline_holds_in_a_deep_backlog(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    for number in range(60):
        queue.send(envelope(table.create(new_task(f"waiting-{number}")).task_id, request_id="r"))
    clock.advance(2 * POLICY.first_check)
    late = write(cloud, new_task("late", deadline_at=clock.now, check_at=clock.now))
    assert reconciler.run().given_up == 1
    assert row_of(table, late).status is Status.FAILED


@pytest.mark.parametrize("broken_queue", [BrokenQueue(), UnreachableQueue()])
def test_deadlines_hold_while_the_queue_fails(
    cloud: Cloud, table: TaskTable, dead_letters: TaskQueue, clock: Clock, broken_queue: TaskQueue
) -> None:
    late = [
        write(cloud, task_in(Phase.PENDING, task_id=f"{n}", deadline_at=NOW, **DUE))
        for n in range(3)
    ]
    unsent = [table.create(new_task(f"task-{n}", unsent=True, **DUE)) for n in range(3)]
    with pytest.raises(QueueUnavailable):
        make_reconciler(table, broken_queue, dead_letters, clock).run()
    assert {row_of(table, task).status for task in late} == {Status.FAILED}
    assert all(row_of(table, task).unsent for task in unsent)


# ── Rows of a newer version ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("needs", ["its deadline", "a message", "a lost message"])
def test_one_unreadable_row_does_not_stop_a_run(
    cloud: Cloud,
    table: TaskTable,
    queue: TaskQueue,
    reconciler: Reconciler,
    clock: Clock,
    needs: str,
) -> None:
    needs_by_name: dict[str, dict[str, Any]] = {
        "its deadline": {"deadline_at": NOW},
        "a message": {"unsent": True},
        "a lost message": {},
    }
    changes = needs_by_name[needs]
    shard = new_task("other").open_shard
    unknown = new_task("unknown", open_shard=shard, **DUE, **changes)
    cloud.dynamodb.put_item(
        TableName=cloud.resources.task_table,
        Item={**to_item(unknown), "status": {"S": "PAUSED"}},
    )
    late = write(
        cloud, new_task("late", open_shard=shard, deadline_at=NOW + LEASE, check_at=NOW + LEASE)
    )
    other = table.create(new_task("other", unsent=True, check_at=NOW + LEASE))
    clock.advance(LEASE)
    for _ in range(3):
        reconciler.run()
    assert row_of(table, late).status is Status.FAILED
    assert not row_of(table, other).unsent


def test_unreadable_rows_are_counted(cloud: Cloud, reconciler: Reconciler) -> None:
    row = {**to_item(new_task(deadline_at=NOW, **DUE)), "status": {"S": "PAUSED"}}
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=row)
    with structlog.testing.capture_logs() as entries:
        assert reconciler.run().unreadable >= 1
    [metrics] = [entry["metrics"] for entry in entries if "metrics" in entry]
    assert metrics[Metric.ROWS_UNREADABLE] >= 1
