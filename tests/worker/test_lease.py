"""Heartbeats: they extend the lease first and the message second, and end with the work."""

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
from testbed.waiting import wait_until
from tests.conftest import Clock, Cloud
from tests.tasks import LEASE, NOW, envelope, new_task


@pytest.fixture
def keeper(table: TaskTable, queue: TaskQueue, clock: Clock) -> LeaseKeeper:
    return make_keeper(table, queue, clock)


def make_keeper(
    table: TaskTable, queue: TaskQueue, clock: Clock, *, interval: timedelta = LEASE / 3
) -> LeaseKeeper:
    return LeaseKeeper(
        table=table, queue=queue, concurrency=2, duration=LEASE, interval=interval, clock=clock
    )


@pytest.fixture
def claim(table: TaskTable) -> Task:
    table.create(new_task())
    return table.claim(new_task().task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)


@pytest.fixture
def message(claim: Task, queue: TaskQueue) -> Message:
    queue.send(envelope(claim.task_id, request_id="r"))
    [message] = queue.receive(limit=1, wait_s=0)
    return message


def lease_end(table: TaskTable, task: Task) -> object:
    row = table.get(task.task_id)
    assert row is not None
    return row.lease_until


def test_a_heartbeat_extends_the_lease_and_the_visibility_timeout(
    table: TaskTable,
    queue: TaskQueue,
    keeper: LeaseKeeper,
    clock: Clock,
    claim: Task,
    message: Message,
) -> None:
    queue.change_visibility(message, timeout_s=0)
    with keeper.hold(claim, message):
        clock.advance(LEASE / 3)
        wait(keeper.heartbeat())
        assert queue.backlog().visible == 0
    assert lease_end(table, claim) == clock.now + LEASE


def test_a_heartbeat_does_not_hide_the_message_of_a_lost_lease(
    table: TaskTable, queue: TaskQueue, keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    queue.change_visibility(message, timeout_s=0)
    table.cancel(claim.task_id, now=NOW)
    with keeper.hold(claim, message) as lease:
        wait(keeper.heartbeat())
        with pytest.raises(LeaseLost):
            lease.check()
    assert queue.backlog().visible == 1


def test_a_lease_survives_a_failed_heartbeat_and_the_next_one_extends_it(
    cloud: Cloud, table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    class FlakyTable(TaskTable):
        failures = 1

        def extend(self, claim: Task, **instants: object) -> None:
            if self.failures:
                self.failures -= 1
                raise TableUnavailable("UpdateItem: ThrottlingException")
            super().extend(claim, **instants)  # type: ignore[arg-type] # passed on unchanged

    flaky = FlakyTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    keeper = make_keeper(flaky, queue, clock)
    with keeper.hold(claim, message) as lease:
        clock.advance(LEASE / 3)
        wait(keeper.heartbeat())
        lease.check()
        wait(keeper.heartbeat())
    assert lease_end(table, claim) == clock.now + LEASE


def test_heartbeats_run_in_parallel(
    cloud: Cloud, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    both_running = Barrier(2, timeout=10)

    class WaitingTable(TaskTable):
        def extend(self, claim: Task, **instants: object) -> None:
            both_running.wait()

    waiting = WaitingTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    keeper = make_keeper(waiting, queue, clock)
    with keeper.hold(claim, message), keeper.hold(claim, message):
        wait(keeper.heartbeat())
    assert not both_running.broken


def test_a_heartbeat_that_hangs_does_not_delay_the_next_ones_of_other_tasks(
    cloud: Cloud, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    hanging, other = claim, replace(claim, task_id="6e1f7a4e-0000-4000-8000-000000000002")
    extended: list[str] = []
    release = Event()

    class HangingTable(TaskTable):
        def extend(self, claim: Task, **instants: object) -> None:
            extended.append(claim.task_id)
            if claim == hanging:
                release.wait(timeout=10)

    table = HangingTable(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=1)
    )
    keeper = make_keeper(table, queue, clock)
    with keeper.hold(hanging, message), keeper.hold(other, message):
        first = wait(keeper.heartbeat(), timeout=10, return_when=FIRST_COMPLETED)
        later = [wait(keeper.heartbeat(), timeout=10) for _ in range(2)]
        release.set()
    assert len(first.not_done) == 1
    assert not any(heartbeat.not_done for heartbeat in later)
    assert extended.count(other.task_id) == 3
    assert extended.count(hanging.task_id) == 1


def test_no_heartbeat_follows_the_end_of_the_work(
    table: TaskTable, keeper: LeaseKeeper, clock: Clock, claim: Task, message: Message
) -> None:
    with keeper.hold(claim, message):
        pass
    clock.advance(LEASE / 3)
    wait(keeper.heartbeat())
    assert lease_end(table, claim) == NOW + LEASE


def test_a_released_task_can_be_claimed_by_another_worker(
    table: TaskTable, queue: TaskQueue, keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    with keeper.hold(claim, message) as lease:
        assert keeper.release_all() == 1
        with pytest.raises(LeaseLost):
            lease.check()
    assert queue.backlog().visible == 1
    again = table.claim(claim.task_id, lease_owner="v", lease_until=NOW + LEASE, now=NOW)
    assert (again.status, again.attempt) == (Status.RUNNING, 2)


def test_a_task_that_cannot_be_released_does_not_prevent_releasing_others(
    keeper: LeaseKeeper, claim: Task, message: Message
) -> None:
    stolen = replace(claim, attempt=2, lease_owner="another worker")
    with keeper.hold(stolen, message), keeper.hold(claim, message):
        assert keeper.release_all() == 1


def test_a_thread_sends_heartbeats_until_stopped(
    table: TaskTable, queue: TaskQueue, clock: Clock, claim: Task, message: Message
) -> None:
    keeper = make_keeper(table, queue, clock, interval=timedelta(milliseconds=5))
    clock.advance(LEASE / 3)
    keeper.start()
    with keeper.hold(claim, message):
        wait_until(lambda: lease_end(table, claim) != NOW + LEASE, "the lease has been extended")
    keeper.stop()
