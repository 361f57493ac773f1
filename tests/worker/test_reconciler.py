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
from services.worker.reconciler import ReconcilePolicy, Reconciler, ReconcileReport
from tests.broken_aws import BrokenQueue, UnreachableQueue
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, NOW, POLICY, new_task, task_in

MAX_BACKOFF = timedelta(seconds=300)
MAX_BACKLOG = 50


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
        policy=ReconcilePolicy(lease=LEASE, max_backoff=MAX_BACKOFF, max_backlog=MAX_BACKLOG),
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


def test_an_unsent_task_is_sent_once(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    task = table.create(new_task())
    clock.advance(POLICY.first_check)
    assert reconciler.run().resent == 1
    assert reconciler.run() == ReconcileReport()
    [message] = queue.receive(limit=10, wait_s=0)
    assert (message.task_id, message.request_id) == (task.task_id, task.request_id)
    assert row_of(table, task).check_at == clock.now + 4 * POLICY.first_check


def test_a_task_is_not_checked_before_it_is_due(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler, clock: Clock
) -> None:
    table.create(new_task())
    clock.advance(POLICY.first_check - timedelta(milliseconds=1))
    assert reconciler.run() == ReconcileReport()
    assert cloud.messages()["queue"] == 0


def test_concurrent_reconcilers_send_one_message_for_each_task(
    embedded_cloud: Cloud, clock: Clock
) -> None:
    cloud, resources = embedded_cloud, embedded_cloud.resources
    table = TaskTable(cloud.dynamodb, table=resources.task_table, retention=POLICY.retention)
    queue = TaskQueue(cloud.sqs, url=resources.task_queue_url)
    dead_letters = TaskQueue(cloud.sqs, url=resources.dead_letter_queue_url)
    for number in range(20):
        table.create(new_task(f"task-{number}"))
    clock.advance(POLICY.first_check)
    start = threading.Barrier(3)

    def run() -> ReconcileReport:
        start.wait()
        return make_reconciler(table, queue, dead_letters, clock).run()

    with ThreadPoolExecutor(3) as reconcilers:
        reports = [report.result() for report in [reconcilers.submit(run) for _ in range(3)]]
    assert sum(report.resent for report in reports) == 20
    assert cloud.messages()["queue"] == 20


def test_a_deep_backlog_stops_resending_but_not_deadlines(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, reconciler: Reconciler, clock: Clock
) -> None:
    for number in range(MAX_BACKLOG):
        task = table.create(new_task(f"task-{number}"))
        queue.send(task.task_id, request_id="r")
    late = write(cloud, task_in(Phase.PENDING, task_id="late", deadline_at=NOW, check_at=NOW))
    clock.advance(POLICY.first_check)
    report = reconciler.run()
    assert (report.resent, report.held_back, report.given_up) == (0, MAX_BACKLOG, 1)
    assert cloud.messages()["queue"] == MAX_BACKLOG
    assert row_of(table, late).status is Status.FAILED


def test_a_run_resends_only_up_to_the_backlog_limit(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler, clock: Clock
) -> None:
    for number in range(MAX_BACKLOG + 7):
        table.create(new_task(f"task-{number}"))
    clock.advance(POLICY.first_check)
    report = reconciler.run()
    assert (report.resent, report.held_back) == (MAX_BACKLOG, 7)


@pytest.mark.parametrize(
    ("phase", "changes", "due_at"),
    [
        (Phase.LEASED, {"lease_until": NOW + LEASE}, NOW + 2 * LEASE),
        (Phase.ABANDONED, {"lease_until": NOW - LEASE / 2}, NOW + LEASE / 2),
        (Phase.RETRYING, {"updated_at": NOW}, NOW + MAX_BACKOFF),
    ],
)
def test_a_task_whose_message_is_not_missing_yet_is_checked_later(
    cloud: Cloud,
    table: TaskTable,
    reconciler: Reconciler,
    clock: Clock,
    phase: Phase,
    changes: dict[str, Any],
    due_at: datetime,
) -> None:
    task = write(cloud, task_in(phase, check_at=NOW, **changes))
    assert reconciler.run().resent == 0
    assert row_of(table, task).check_at == due_at
    clock.now = due_at
    assert reconciler.run().resent == 1


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING, Phase.ABANDONED])
@pytest.mark.parametrize(
    ("changes", "code"),
    [({"attempt": 5}, "attempts_exhausted"), ({"deadline_at": NOW}, "deadline_passed")],
)
def test_a_task_without_attempts_or_time_is_failed(
    cloud: Cloud,
    table: TaskTable,
    reconciler: Reconciler,
    phase: Phase,
    changes: dict[str, Any],
    code: str,
) -> None:
    task = write(cloud, task_in(phase, check_at=NOW, **changes))
    assert reconciler.run().given_up == 1
    row = row_of(table, task)
    assert (row.status, row.will_retry, row.failure_code) == (Status.FAILED, False, code)
    assert row.failure_reason
    assert cloud.messages()["queue"] == 0


def test_a_leased_task_past_its_deadline_is_logged_and_not_failed(
    cloud: Cloud, table: TaskTable, reconciler: Reconciler
) -> None:
    task = write(
        cloud,
        task_in(Phase.LEASED, deadline_at=NOW, check_at=NOW, lease_until=NOW + LEASE),
    )
    with structlog.testing.capture_logs() as entries:
        report = reconciler.run()
    assert (report.overdue, report.given_up) == (1, 0)
    # The alarm's description refers to this event.
    assert [entry["task_id"] for entry in entries if entry["event"] == "task overdue"] == [
        task.task_id
    ]
    assert row_of(table, task).status is Status.RUNNING


@pytest.mark.parametrize(
    ("phase", "changes", "expires_at"),
    [
        (Phase.RETRYING, {"deadline_at": NOW + LEASE}, NOW + LEASE),
        (Phase.ABANDONED, {"deadline_at": NOW + LEASE / 4}, NOW + LEASE / 4),
        (Phase.LEASED, {"deadline_at": NOW + LEASE / 4}, NOW + LEASE / 2),
        (Phase.LEASED, {"deadline_at": NOW}, NOW + LEASE / 2),
    ],
)
def test_a_task_is_checked_when_its_deadline_has_passed_and_its_lease_has_ended(
    cloud: Cloud,
    table: TaskTable,
    reconciler: Reconciler,
    clock: Clock,
    phase: Phase,
    changes: dict[str, Any],
    expires_at: datetime,
) -> None:
    lease_until = {
        Phase.LEASED: {"lease_until": NOW + LEASE / 2},
        Phase.ABANDONED: {"lease_until": NOW},
    }.get(phase, {})
    task = write(cloud, task_in(phase, check_at=NOW, **lease_until, **changes))
    reconciler.run()
    assert row_of(table, task).check_at == expires_at
    clock.now = expires_at
    assert reconciler.run().given_up == 1


def test_a_message_that_could_not_be_sent_is_sent_by_the_next_run(
    table: TaskTable, dead_letters: TaskQueue, queue: TaskQueue, clock: Clock
) -> None:
    task = table.create(new_task())
    clock.advance(POLICY.first_check)
    with pytest.raises(QueueUnavailable):
        make_reconciler(table, BrokenQueue(), dead_letters, clock).run()
    assert row_of(table, task).check_at == clock.now
    assert make_reconciler(table, queue, dead_letters, clock).run().resent == 1


@pytest.mark.parametrize("broken_queue", [BrokenQueue(), UnreachableQueue()])
def test_deadlines_hold_while_the_queue_fails(
    cloud: Cloud, table: TaskTable, dead_letters: TaskQueue, clock: Clock, broken_queue: TaskQueue
) -> None:
    late = [
        write(cloud, task_in(Phase.PENDING, task_id=f"{n}", deadline_at=NOW, check_at=NOW))
        for n in range(3)
    ]
    unsent = [table.create(new_task(f"task-{n}")) for n in range(3)]
    clock.advance(POLICY.first_check)
    with pytest.raises(QueueUnavailable):
        make_reconciler(table, broken_queue, dead_letters, clock).run()
    assert {row_of(table, task).status for task in late} == {Status.FAILED}
    assert {row_of(table, task).check_at for task in unsent} == {clock.now}
