"""The heartbeat: the lease first, the message second, and nothing after the end."""

from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event

import pytest

from services.common.errors import LeaseLost, TableUnavailable
from services.common.task import Status, Task
from services.common.task_queue import Message, TaskQueue
from services.common.task_table import TaskTable
from services.worker.lease import LeaseKeeper
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, NOW, new_task


@pytest.fixture
def keeper(table: TaskTable, queue: TaskQueue, clock: Clock) -> LeaseKeeper:
    return make_keeper(table, queue, clock)


def make_keeper(
    table: TaskTable, queue: TaskQueue, clock: Clock, *, interval: timedelta = LEASE / 3
) -> LeaseKeeper:
    return LeaseKeeper(
        table=table, queue=queue, at_once=2, duration=LEASE, interval=interval, clock=clock
    )


@pytest.fixture
def claim(table: TaskTable) -> Task:
    table.create(new_task())
    return table.claim(new_task().task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)


@pytest.fixture
def message(claim: Task, queue: TaskQueue) -> Message:
    queue.send(claim.task_id, request_id="r")
    [message] = queue.receive(limit=1, wait_s=0)
    return message


def test_a_beat_extends_row_and_message(
    table: TaskTable,
    queue: TaskQueue,
    keeper: LeaseKeeper,
    clock: Clock,
    claim: Task,
    message: Message,
) -> None:
    queue.change_visibility(message, timeout_s=0)
    with keeper.holding(claim, message):
        clock.advance(LEASE / 3)
        wait(keeper.beat())
        assert queue.backlog().visible == 0
    row = table.get(claim.task_id)
    assert row is not None
    assert row.lease_until == clock.now + LEASE


def test_a_message_is_not_kept_from_others_without_the_lease(
    table: TaskTable, queue: TaskQueue, keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    queue.change_visibility(message, timeout_s=0)
    table.cancel(claim.task_id, now=NOW)
    with keeper.holding(claim, message) as lease:
        wait(keeper.beat())
        with pytest.raises(LeaseLost):
            lease.check()
    assert queue.backlog().visible == 1


def test_a_beat_that_aws_refuses_is_tried_again_at_the_next(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    class FlakyTable(TaskTable):
        refusals = 1

        def extend(self, claim: Task, **instants: object) -> None:
            if self.refusals:
                self.refusals -= 1
                raise TableUnavailable("UpdateItem: ThrottlingException")
            super().extend(claim, **instants)  # type: ignore[arg-type] # as they were handed in

    flaky = FlakyTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    keeper = make_keeper(flaky, queue, clock)
    with keeper.holding(claim, message) as lease:
        clock.advance(LEASE / 3)
        wait(keeper.beat())
        lease.check()
        wait(keeper.beat())
    row = table.get(claim.task_id)
    assert row is not None
    assert row.lease_until == clock.now + LEASE


def test_a_call_that_hangs_keeps_no_other_lease_waiting(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    together = Barrier(2, timeout=10)

    class SlowTable(TaskTable):
        def extend(self, claim: Task, **instants: object) -> None:
            together.wait()

    slow = SlowTable(cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1))
    keeper = make_keeper(slow, queue, clock)
    with keeper.holding(claim, message), keeper.holding(claim, message):
        wait(keeper.beat())
    assert not together.broken


def test_a_call_that_hangs_does_not_keep_the_others_from_their_next_beat(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    hanging, other = claim, replace(claim, task_id="6e1f7a4e-0000-4000-8000-000000000002")
    beaten: list[str] = []
    answered = Event()

    class HangingTable(TaskTable):
        def extend(self, claim: Task, **instants: object) -> None:
            beaten.append(claim.task_id)
            if claim == hanging:
                answered.wait(timeout=10)

    hung = HangingTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    keeper = make_keeper(hung, queue, clock)
    with keeper.holding(hanging, message), keeper.holding(other, message):
        first = wait(keeper.beat(), timeout=10, return_when=FIRST_COMPLETED)
        later = [wait(keeper.beat(), timeout=10) for _ in range(2)]
        answered.set()
    assert len(first.not_done) == 1
    assert not any(round_.not_done for round_ in later)
    assert beaten.count(other.task_id) == 3
    assert beaten.count(hanging.task_id) == 1


def test_nothing_is_extended_after_the_work_has_ended(
    table: TaskTable, keeper: LeaseKeeper, clock: Clock, claim: Task, message: Message
) -> None:
    with keeper.holding(claim, message):
        pass
    clock.advance(LEASE / 3)
    wait(keeper.beat())
    row = table.get(claim.task_id)
    assert row is not None
    assert row.lease_until == NOW + LEASE


def test_what_cannot_be_finished_is_given_back_at_once(
    table: TaskTable, queue: TaskQueue, keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    with keeper.holding(claim, message) as lease:
        assert keeper.release_all() == 1
        with pytest.raises(LeaseLost):
            lease.check()
    assert queue.backlog().visible == 1
    again = table.claim(claim.task_id, lease_owner="v", lease_until=NOW + LEASE, now=NOW)
    assert (again.status, again.attempt) == (Status.RUNNING, 2)


def test_one_task_that_cannot_be_given_back_does_not_keep_the_others(
    table: TaskTable, queue: TaskQueue, keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    stolen = replace(claim, attempt=2, lease_owner="somebody else")
    with keeper.holding(stolen, message), keeper.holding(claim, message):
        assert keeper.release_all() == 1


def test_the_thread_beats_until_it_is_stopped(
    table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    keeper = make_keeper(table, queue, clock, interval=timedelta(milliseconds=5))
    clock.advance(LEASE / 3)
    keeper.start()
    with keeper.holding(claim, message):
        while (row := table.get(claim.task_id)) and row.lease_until == NOW + LEASE:
            pass
    keeper.stop()
