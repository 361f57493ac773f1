"""A worker while AWS is in trouble: whichever call fails, the task is done once in the end."""

import threading
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path

import pytest

from services.common.errors import AwsError, LeaseLost, QueueUnavailable, SourceUnavailable
from services.common.task import Status, Task
from services.common.task_queue import Message
from services.worker.consumer import Consumer
from services.worker.health import HealthFile
from tests.aws_trouble.faults import UNHEARD, Kind, Service
from tests.aws_trouble.world import World
from tests.conftest import Clock
from tests.tasks import LEASE, NOW, new_task
from tests.worker.test_consumer import PATIENCE_S, wait_until
from tests.worker.test_processor import IMAGE, StubFetcher

CALLS = {
    "claim": (Service.DYNAMODB, "UpdateItem", 1),
    "store": (Service.S3, "PutObject", 1),
    "complete": (Service.DYNAMODB, "UpdateItem", 2),
    "delete": (Service.SQS, "DeleteMessage", 1),
}
CALLS_OF_A_FAILED_ATTEMPT = {
    "fail": (Service.DYNAMODB, "UpdateItem", 2),
    "put back": (Service.SQS, "ChangeMessageVisibility", 1),
}


@pytest.fixture
def task(world: World) -> Task:
    task = world.well.table.create(new_task())
    world.well.queue.send(task.task_id, request_id="r")
    return task


@pytest.fixture
def message(world: World, task: Task) -> Message:
    return world.receive()


def process(world: World, message: Message) -> None:
    """As the consumer does it, which leaves a message whose AWS fails."""
    with suppress(AwsError):
        world.processor(world.hurt).process(message)


def finish(world: World, task: Task, message: Message) -> Task:
    world.clock.advance(LEASE)
    return world.finish(
        task.task_id, show=lambda: world.well.queue.change_visibility(message, timeout_s=0)
    )


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("call", CALLS)
def test_whichever_call_fails_the_task_is_completed_once_in_the_end(
    world: World, task: Task, message: Message, call: str, kind: Kind
) -> None:
    service, operation, invocation = CALLS[call]
    trouble = world.let(kind, service, operation, invocation=invocation)
    process(world, message)
    assert trouble.struck
    row = world.row(task.task_id)
    if call != "delete":
        assert row.status is not Status.COMPLETED or kind in UNHEARD, "nothing is half done"

    world.heal()
    if world.messages():
        row = finish(world, task, message)
    assert row.status is Status.COMPLETED
    assert row.attempt <= 2
    assert world.stored(row) == IMAGE.body
    assert world.messages() == 0


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("call", CALLS_OF_A_FAILED_ATTEMPT)
def test_whichever_call_fails_a_failed_attempt_is_followed_by_another(
    world: World, task: Task, message: Message, call: str, kind: Kind
) -> None:
    service, operation, invocation = CALLS_OF_A_FAILED_ATTEMPT[call]
    trouble = world.let(kind, service, operation, invocation=invocation)
    world.fetcher = StubFetcher(error=SourceUnavailable("503"))
    process(world, message)
    assert trouble.struck

    world.heal()
    world.fetcher = StubFetcher()
    row = finish(world, task, message)
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)
    assert world.messages() == 0


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("service", "operation"),
    [(Service.DYNAMODB, "UpdateItem"), (Service.SQS, "ChangeMessageVisibility")],
)
def test_a_missed_heartbeat_ends_neither_the_lease_nor_the_heartbeats(
    world: World,
    task: Task,
    message: Message,
    clock: Clock,
    service: Service,
    operation: str,
    kind: Kind,
) -> None:
    claim = world.well.table.claim(task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW)
    keeper = world.leases(world.hurt)
    with keeper.holding(claim, message) as lease:
        trouble = world.let(kind, service, operation)
        clock.advance(LEASE / 3)
        wait(keeper.beat())
        assert trouble.struck
        lease.check()
        world.heal()
        clock.advance(LEASE / 3)
        wait(keeper.beat())
        lease.check()
    assert world.row(task.task_id).lease_until == clock.now + LEASE


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("service", [Service.DYNAMODB, Service.SQS])
def test_what_cannot_be_given_back_comes_back_when_its_lease_ends(
    world: World, task: Task, message: Message, service: Service, kind: Kind
) -> None:
    claim = world.well.table.claim(task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW)
    keeper = world.leases(world.hurt)
    with keeper.holding(claim, message) as lease:
        world.let(kind, service)
        assert keeper.release_all() == 0
        with pytest.raises(LeaseLost):
            lease.check()
    world.heal()
    row = finish(world, task, message)
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)


@pytest.mark.parametrize("kind", Kind)
def test_what_cannot_be_put_back_is_said(world: World, message: Message, kind: Kind) -> None:
    world.let(kind, Service.SQS, "ChangeMessageVisibilityBatch")
    with pytest.raises(QueueUnavailable):
        world.hurt.queue.return_messages([message])


def test_a_message_that_is_gone_is_not_put_back_in_silence(world: World, message: Message) -> None:
    world.well.queue.delete(message)
    with pytest.raises(QueueUnavailable):
        world.hurt.queue.return_messages([message])


def test_the_poll_loop_outlives_trouble_of_every_kind(world: World, tmp_path: Path) -> None:
    processed: list[Message] = []
    health = HealthFile(tmp_path / "health")
    consumer = Consumer(
        queue=world.hurt.queue,
        process=processed.append,
        concurrency=2,
        receive_wait_s=0,
        longest_task_s=60,
        health=health,
        jitter=lambda: 0.0,
    )
    loop = threading.Thread(target=consumer.run, daemon=True)
    loop.start()
    try:
        for kind in Kind:
            trouble = world.let(kind, Service.SQS)
            wait_until(lambda trouble=trouble: len(trouble.struck) > 4)  # type: ignore[misc]
        world.heal()
        world.well.queue.send("task", request_id="r")
        wait_until(lambda: len(processed) == 1)
    finally:
        consumer.stop()
        loop.join(PATIENCE_S)
    assert not loop.is_alive()


def test_the_heart_outlives_trouble_of_every_kind(
    world: World, task: Task, message: Message
) -> None:
    claim = world.well.table.claim(task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW)
    keeper = world.leases(world.hurt, interval=LEASE / 60_000)
    keeper.start()
    try:
        with keeper.holding(claim, message) as lease:
            for kind in Kind:
                for service in (Service.DYNAMODB, Service.SQS):
                    trouble = world.let(kind, service)
                    wait_until(lambda trouble=trouble: bool(trouble.struck))  # type: ignore[misc]
            world.heal()
            later = world.clock.advance(LEASE / 2)
            wait_until(lambda: world.row(task.task_id).lease_until == later + LEASE)
            lease.check()
    finally:
        keeper.stop()
