"""The worker while calls to AWS fail: each task still completes exactly once."""

import threading
from concurrent.futures import wait
from contextlib import suppress

import pytest

from services.common.errors import AwsError, LeaseLost, QueueUnavailable, SourceUnavailable
from services.common.task import Status, Task
from services.common.task_queue import Message
from services.worker.consumer import Consumer
from services.worker.deleter import MessageDeleter
from testbed.waiting import DEFAULT_TIMEOUT_S, wait_until
from tests.aws_faults.faults import RESPONSE_LOST, FaultKind, Service
from tests.aws_faults.faulty_system import FaultySystem
from tests.conftest import Clock
from tests.tasks import LEASE, NOW, envelope, new_task
from tests.worker.stubs import RESULT_IMAGE, FixedAdmission, StubFetcher

CALLS = {
    "claim": (Service.DYNAMODB, "UpdateItem", 1),
    "store": (Service.S3, "PutObject", 1),
    "complete": (Service.DYNAMODB, "UpdateItem", 2),
    "delete": (Service.SQS, "DeleteMessage", 1),
}
CALLS_OF_A_FAILED_ATTEMPT = {
    "fail": (Service.DYNAMODB, "UpdateItem", 2),
    "delay the message": (Service.SQS, "ChangeMessageVisibility", 1),
}


@pytest.fixture
def task(system: FaultySystem) -> Task:
    task = system.healthy.table.create(new_task())
    system.healthy.queue.send(envelope(task.task_id, request_id="r"))
    return task


@pytest.fixture
def message(system: FaultySystem, task: Task) -> Message:
    return system.receive()


def process(system: FaultySystem, message: Message) -> None:
    """Like the consumer, which leaves the message in the queue after an ``AwsError``."""
    with suppress(AwsError):
        system.processor(system.faulty).process(message)


def finish(system: FaultySystem, task: Task, message: Message) -> Task:
    system.clock.advance(LEASE)  # longer than the first backoff, too
    return system.finish(
        task.task_id, show=lambda: system.healthy.queue.change_visibility(message, timeout_s=0)
    )


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("call", CALLS)
def test_a_task_completes_once_after_any_call_fails(
    system: FaultySystem, task: Task, message: Message, call: str, kind: FaultKind
) -> None:
    service, operation, invocation = CALLS[call]
    rule = system.inject(kind, service, operation, invocation=invocation)
    process(system, message)
    assert rule.failed
    row = system.row(task.task_id)
    if call != "delete":
        assert row.status is not Status.COMPLETED or kind in RESPONSE_LOST, "completed too early"

    system.remove_fault()
    if system.count_messages():
        row = finish(system, task, message)
    assert row.status is Status.COMPLETED
    assert row.attempt <= 2
    assert system.stored(row) == RESULT_IMAGE.body
    assert system.count_messages() == 0


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("call", CALLS_OF_A_FAILED_ATTEMPT)
def test_a_failed_attempt_is_retried_after_any_call_fails(
    system: FaultySystem, task: Task, message: Message, call: str, kind: FaultKind
) -> None:
    service, operation, invocation = CALLS_OF_A_FAILED_ATTEMPT[call]
    rule = system.inject(kind, service, operation, invocation=invocation)
    system.fetcher = StubFetcher(error=SourceUnavailable("503"))
    process(system, message)
    assert rule.failed

    system.remove_fault()
    system.fetcher = StubFetcher()
    row = finish(system, task, message)
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)
    assert system.count_messages() == 0


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize(
    ("service", "operation"),
    [(Service.DYNAMODB, "UpdateItem"), (Service.SQS, "ChangeMessageVisibility")],
)
def test_a_missed_heartbeat_does_not_end_the_lease(
    system: FaultySystem,
    task: Task,
    message: Message,
    clock: Clock,
    service: Service,
    operation: str,
    kind: FaultKind,
) -> None:
    claim = system.healthy.table.claim(
        task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW
    )
    keeper = system.leases(system.faulty)
    with keeper.hold(claim, message) as lease:
        rule = system.inject(kind, service, operation)
        clock.advance(LEASE / 3)
        wait(keeper.heartbeat())
        assert rule.failed
        lease.check()
        system.remove_fault()
        clock.advance(LEASE / 3)
        wait(keeper.heartbeat())
        lease.check()
    assert system.row(task.task_id).lease_until == clock.now + LEASE


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("service", [Service.DYNAMODB, Service.SQS])
def test_a_task_that_cannot_be_released_is_retried_when_its_lease_ends(
    system: FaultySystem, task: Task, message: Message, service: Service, kind: FaultKind
) -> None:
    claim = system.healthy.table.claim(
        task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW
    )
    keeper = system.leases(system.faulty)
    with keeper.hold(claim, message) as lease:
        system.inject(kind, service)
        assert keeper.release_all() == 0
        with pytest.raises(LeaseLost):
            lease.check()
    system.remove_fault()
    row = finish(system, task, message)
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_message_is_deleted_although_a_call_fails(
    system: FaultySystem, message: Message, kind: FaultKind
) -> None:
    rule = system.inject(kind, Service.SQS, "DeleteMessageBatch", invocation=1)
    deleter = MessageDeleter(system.faulty.queue)
    deleter.start()
    deleter.delete(message)
    wait_until(lambda: rule.failed and system.count_messages() == 0, "the message is deleted")
    deleter.stop()


@pytest.mark.parametrize("kind", FaultKind)
def test_a_failure_to_return_messages_raises(
    system: FaultySystem, message: Message, kind: FaultKind
) -> None:
    system.inject(kind, Service.SQS, "ChangeMessageVisibilityBatch")
    with pytest.raises(QueueUnavailable):
        system.faulty.queue.return_messages([message])


def test_returning_a_deleted_message_raises(system: FaultySystem, message: Message) -> None:
    system.healthy.queue.delete(message)
    with pytest.raises(QueueUnavailable):
        system.faulty.queue.return_messages([message])


def test_the_poll_loop_survives_every_kind_of_fault(system: FaultySystem) -> None:
    processed: list[Message] = []
    consumer = Consumer(
        queue=system.faulty.queue,
        process=processed.append,
        admission=FixedAdmission(2),
        receive_wait_s=0,
        max_task_s=60,
        report_progress=lambda: None,
        jitter=lambda: 0.0,
    )
    loop = threading.Thread(target=consumer.run, daemon=True)
    loop.start()
    try:
        for kind in FaultKind:
            rule = system.inject(kind, Service.SQS)
            wait_until(lambda rule=rule: len(rule.failed) > 4, f"calls have failed: {kind}")  # type: ignore[misc]
        system.remove_fault()
        system.healthy.queue.send(envelope("task", request_id="r"))
        wait_until(lambda: len(processed) == 1, "the message has been processed")
    finally:
        consumer.stop()
        loop.join(DEFAULT_TIMEOUT_S)
    assert not loop.is_alive()


def test_heartbeats_continue_after_every_kind_of_fault(
    system: FaultySystem, task: Task, message: Message
) -> None:
    claim = system.healthy.table.claim(
        task.task_id, lease_owner="me", lease_until=NOW + LEASE, now=NOW
    )
    keeper = system.leases(system.faulty, interval=LEASE / 60_000)
    keeper.start()
    try:
        with keeper.hold(claim, message) as lease:
            for kind in FaultKind:
                for service in (Service.DYNAMODB, Service.SQS):
                    rule = system.inject(kind, service)
                    wait_until(lambda rule=rule: bool(rule.failed), f"a call has failed: {kind}")  # type: ignore[misc]
            system.remove_fault()
            later = system.clock.advance(LEASE / 2)
            wait_until(
                lambda: system.row(task.task_id).lease_until == later + LEASE,
                "the lease has been extended",
            )
            lease.check()
    finally:
        keeper.stop()
