"""The poll loop: what it receives, what it puts back, and the progress it reports."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from services.common.errors import QueueUnavailable
from services.common.task_queue import Message, TaskQueue
from services.worker.consumer import Consumer
from testbed.waiting import DEFAULT_TIMEOUT_S, wait_until
from tests.conftest import Cloud
from tests.tasks import envelope
from tests.worker.stubs import FixedAdmission

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient


class BlockingProcessor:
    """Stands in for the processor. Each message waits until the test sets `proceed`."""

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self.started: list[Message] = []
        self.proceed = threading.Event()
        self.error: Exception | None = None

    def __call__(self, message: Message) -> None:
        self.started.append(message)
        self.proceed.wait(DEFAULT_TIMEOUT_S)
        if self.error is not None:
            raise self.error
        self.queue.delete(message)

    def wait_until_started(self, count: int) -> None:
        wait_until(lambda: len(self.started) == count, f"{count} messages have been started")


@pytest.fixture
def processor(queue: TaskQueue) -> Iterator[BlockingProcessor]:
    processor = BlockingProcessor(queue)
    yield processor
    processor.proceed.set()


class Reports:
    """Counts the progress reports of a consumer."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    def wait_for_another(self) -> None:
        before = self.count
        wait_until(lambda: self.count > before, "the poll loop has reported progress")


@pytest.fixture
def reports() -> Reports:
    return Reports()


def make_consumer(
    queue: TaskQueue,
    processor: BlockingProcessor,
    reports: Reports,
    *,
    slots: int = 2,
    max_task_s: float = 60,
) -> Consumer:
    return Consumer(
        queue=queue,
        process=processor,
        admission=FixedAdmission(slots),
        receive_wait_s=0,
        max_task_s=max_task_s,
        report_progress=reports,
        jitter=lambda: 0.001,
    )


class ConsumerThread:
    """Runs a consumer in a thread until `stop`."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.thread = threading.Thread(target=self.consumer.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.consumer.stop()
        self.thread.join(DEFAULT_TIMEOUT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def running(
    queue: TaskQueue, processor: BlockingProcessor, reports: Reports
) -> Iterator[ConsumerThread]:
    running = ConsumerThread(make_consumer(queue, processor, reports))
    yield running
    processor.proceed.set()
    running.stop()


def send(queue: TaskQueue, count: int) -> None:
    for number in range(count):
        queue.send(envelope(f"task-{number}", request_id="r"))


def test_no_more_messages_are_received_than_can_be_started(
    queue: TaskQueue, processor: BlockingProcessor, running: ConsumerThread
) -> None:
    send(queue, 5)
    processor.wait_until_started(2)
    backlog = queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (3, 2)
    processor.proceed.set()
    processor.wait_until_started(5)


def test_running_tasks_finish_after_stop_and_no_task_starts(
    queue: TaskQueue, processor: BlockingProcessor, running: ConsumerThread
) -> None:
    send(queue, 4)
    processor.wait_until_started(2)
    running.stop()
    assert not running.consumer.wait_until_idle(0)
    processor.proceed.set()
    assert running.consumer.wait_until_idle(DEFAULT_TIMEOUT_S)
    assert len(processor.started) == 2
    assert queue.backlog().visible == 2


def test_messages_of_the_current_poll_are_put_back_after_stop(
    cloud: Cloud, queue: TaskQueue, processor: BlockingProcessor, reports: Reports
) -> None:
    class StoppingQueue(TaskQueue):
        """Stops the consumer just before it returns the messages of a poll."""

        def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
            messages = super().receive(limit=limit, wait_s=wait_s)
            if messages:
                self.consumer.stop()
            return messages

        consumer: Consumer

    stopping = StoppingQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    send(queue, 2)
    stopping.consumer = make_consumer(stopping, processor, reports)
    stopping.consumer.run()
    assert processor.started == []
    backlog = queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (2, 0)


@pytest.mark.parametrize("error", [QueueUnavailable("x"), ZeroDivisionError()])
def test_a_message_whose_processing_fails_frees_its_slot_and_stays_in_the_queue(
    queue: TaskQueue, processor: BlockingProcessor, running: ConsumerThread, error: Exception
) -> None:
    processor.error = error
    processor.proceed.set()
    send(queue, 5)
    processor.wait_until_started(5)
    assert running.consumer.wait_until_idle(DEFAULT_TIMEOUT_S)
    assert queue.backlog().in_flight == 5


def test_the_loop_continues_after_failed_receives(
    cloud: Cloud, queue: TaskQueue, processor: BlockingProcessor, reports: Reports
) -> None:
    class FlakyQueue(TaskQueue):
        failures = 3

        def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
            if self.failures:
                self.failures -= 1
                raise QueueUnavailable("ReceiveMessage: ThrottlingException")
            return super().receive(limit=limit, wait_s=wait_s)

    send(queue, 1)
    processor.proceed.set()
    flaky = FlakyQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    running = ConsumerThread(make_consumer(flaky, processor, reports))
    processor.wait_until_started(1)
    running.stop()


def test_an_idle_consumer_keeps_reporting_progress(
    running: ConsumerThread, reports: Reports
) -> None:
    reports.wait_for_another()
    reports.wait_for_another()


def test_a_busy_consumer_keeps_reporting_progress(
    queue: TaskQueue, processor: BlockingProcessor, running: ConsumerThread, reports: Reports
) -> None:
    send(queue, 3)
    processor.wait_until_started(2)
    reports.wait_for_another()


def test_a_consumer_with_a_stuck_task_reports_no_progress(
    cloud: Cloud, processor: BlockingProcessor, reports: Reports
) -> None:
    counting = CountingQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    send(counting, 1)
    running = ConsumerThread(make_consumer(counting, processor, reports, max_task_s=0))
    processor.wait_until_started(1)
    counting.wait_for_another_receive()
    reported = reports.count
    counting.wait_for_another_receive()
    assert reports.count == reported
    processor.proceed.set()
    reports.wait_for_another()
    running.stop()


def test_a_full_queue_is_received_in_tens(
    cloud: Cloud, processor: BlockingProcessor, reports: Reports
) -> None:
    counting = CountingQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    send(counting, 100)
    processor.proceed.set()
    running = ConsumerThread(make_consumer(counting, processor, reports, slots=20))
    processor.wait_until_started(100)
    running.stop()
    asked = [limit for limit, received in counting.receives if received]
    assert asked[:4] == [2, 4, 8, 10]
    assert sum(limit == 10 for limit in asked) >= 7


def test_a_short_queue_leaves_messages_to_other_consumers(
    cloud: Cloud, processor: BlockingProcessor, reports: Reports
) -> None:
    counting = CountingQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    running = ConsumerThread(make_consumer(counting, processor, reports, slots=20))
    counting.wait_for_another_receive()
    send(counting, 1)
    processor.wait_until_started(1)
    counting.wait_for_another_receive()
    running.stop()
    assert {limit for limit, _ in counting.receives} == {2}


def test_a_consumer_that_waits_for_a_batch_uses_the_slots_that_are_free(
    cloud: Cloud, processor: BlockingProcessor, reports: Reports
) -> None:
    """Its other tasks are slow, so there are never ten free slots."""
    counting = CountingQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    send(counting, 12)
    running = ConsumerThread(make_consumer(counting, processor, reports, slots=10))
    processor.wait_until_started(10)
    processor.proceed.set()
    processor.wait_until_started(12)
    running.stop()


class CountingQueue(TaskQueue):
    """Notes for each receive how many messages it asked for and got."""

    def __init__(self, client: "SQSClient", *, url: str) -> None:
        super().__init__(client, url=url)
        self.receives: list[tuple[int, int]] = []

    def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        messages = super().receive(limit=limit, wait_s=wait_s)
        self.receives.append((limit, len(messages)))
        return messages

    def wait_for_another_receive(self) -> None:
        before = len(self.receives)
        wait_until(lambda: len(self.receives) > before, "the consumer has polled again")
