"""The poll loop: what it receives, what it gives back, and what it says of its own health."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from services.common.errors import QueueUnavailable
from services.common.task_queue import Message, TaskQueue
from services.worker.consumer import Consumer
from services.worker.health import HealthFile
from tests.conftest import Cloud

PATIENCE_S = 10.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Await `condition`; the test fails when it takes longer than anything here should."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.005)


class Work:
    """Stands in for the processor: each message waits until the test lets it go."""

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self.started: list[Message] = []
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def __call__(self, message: Message) -> None:
        self.started.append(message)
        self.go_on.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        self.queue.delete(message)


@pytest.fixture
def work(queue: TaskQueue) -> Iterator[Work]:
    work = Work(queue)
    yield work
    work.go_on.set()


@pytest.fixture
def health(tmp_path: Path) -> HealthFile:
    return HealthFile(tmp_path / "health")


class Running:
    """A consumer in a thread of its own."""

    def __init__(self, queue: TaskQueue, work: Work, health: HealthFile, **options: float) -> None:
        self.consumer = Consumer(
            queue=queue,
            process=work,
            concurrency=2,
            receive_wait_s=0,
            longest_task_s=options.get("longest_task_s", 60.0),
            health=health,
            jitter=lambda: 0.001,
        )
        self.thread = threading.Thread(target=self.consumer.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.consumer.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def running(queue: TaskQueue, work: Work, health: HealthFile) -> Iterator[Running]:
    running = Running(queue, work, health)
    yield running
    work.go_on.set()
    running.stop()


def send(queue: TaskQueue, count: int) -> None:
    for number in range(count):
        queue.send(f"task-{number}", request_id="r")


def test_no_more_is_received_than_can_be_started(
    queue: TaskQueue, work: Work, running: Running
) -> None:
    send(queue, 5)
    wait_until(lambda: len(work.started) == 2)
    backlog = queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (3, 2)
    work.go_on.set()
    wait_until(lambda: len(work.started) == 5)


def test_what_is_under_way_is_finished_after_stop_and_nothing_new_begun(
    queue: TaskQueue, work: Work, running: Running
) -> None:
    send(queue, 4)
    wait_until(lambda: len(work.started) == 2)
    running.stop()
    assert not running.consumer.wait_until_idle(0)
    work.go_on.set()
    assert running.consumer.wait_until_idle(PATIENCE_S)
    assert len(work.started) == 2
    assert queue.backlog().visible == 2


def test_messages_of_the_poll_in_flight_go_back_at_once_after_stop(
    cloud: Cloud, queue: TaskQueue, work: Work, health: HealthFile
) -> None:
    class SlowPoll(TaskQueue):
        """The poll returns messages just after the stop."""

        def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
            messages = super().receive(limit=limit, wait_s=wait_s)
            if messages:
                self.consumer.stop()
            return messages

        consumer: Consumer

    slow = SlowPoll(cloud.sqs, url=cloud.resources.task_queue_url)
    send(queue, 2)
    consumer = Consumer(
        queue=slow,
        process=work,
        concurrency=2,
        receive_wait_s=0,
        longest_task_s=60,
        health=health,
        jitter=lambda: 0.0,
    )
    slow.consumer = consumer
    consumer.run()
    assert work.started == []
    backlog = queue.backlog()
    assert (backlog.visible, backlog.in_flight) == (2, 0)


@pytest.mark.parametrize("error", [QueueUnavailable("x"), ZeroDivisionError()])
def test_a_message_whose_processing_raises_frees_its_slot_and_is_kept(
    queue: TaskQueue, work: Work, running: Running, error: Exception
) -> None:
    work.error = error
    work.go_on.set()
    send(queue, 5)
    wait_until(lambda: len(work.started) == 5)
    assert running.consumer.wait_until_idle(PATIENCE_S)
    assert queue.backlog().in_flight == 5


def test_a_queue_that_refuses_for_a_while_does_not_end_the_loop(
    cloud: Cloud, queue: TaskQueue, work: Work, health: HealthFile
) -> None:
    class FlakyQueue(TaskQueue):
        refusals = 3

        def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
            if self.refusals:
                self.refusals -= 1
                raise QueueUnavailable("ReceiveMessage: ThrottlingException")
            return super().receive(limit=limit, wait_s=wait_s)

    send(queue, 1)
    work.go_on.set()
    running = Running(FlakyQueue(cloud.sqs, url=cloud.resources.task_queue_url), work, health)
    wait_until(lambda: len(work.started) == 1)
    running.stop()


def test_an_idle_worker_makes_rounds(
    queue: TaskQueue, running: Running, health: HealthFile
) -> None:
    wait_until(lambda: health.age_s() is not None)
    wait_until(lambda: (health.age_s() or 9) < 0.005)


def test_a_busy_worker_makes_rounds(
    queue: TaskQueue, work: Work, running: Running, health: HealthFile
) -> None:
    send(queue, 3)
    wait_until(lambda: len(work.started) == 2)
    busy_since = time.monotonic()
    wait_until(lambda: (health.age_s() or 0) < time.monotonic() - busy_since)


def test_a_worker_with_a_stuck_task_stops_making_rounds(
    queue: TaskQueue, work: Work, health: HealthFile
) -> None:
    running = Running(queue, work, health, longest_task_s=0.0)
    send(queue, 2)
    wait_until(lambda: len(work.started) == 2)
    wait_until(lambda: (health.age_s() or 0) > 1.5)
    work.go_on.set()
    wait_until(lambda: (health.age_s() or 9) < 1)
    running.stop()


def test_no_round_was_made_before_the_first(health: HealthFile) -> None:
    assert health.age_s() is None
