"""Deleting messages in batches: none is lost, and none waits long."""

import threading
from collections.abc import Callable, Sequence

import pytest
from botocore.stub import Stubber

from services.common.errors import QueueUnavailable
from services.common.task_queue import Message, TaskQueue
from services.worker.deleter import MAX_TRIES, MessageDeleter
from testbed.waiting import wait_until
from tests.conftest import Cloud
from tests.tasks import envelope


class RecordingQueue(TaskQueue):
    """Records the batches. `outcome` returns the messages that were not deleted, or raises."""

    def __init__(self, outcome: Callable[[Sequence[Message]], Sequence[Message]]) -> None:
        self._outcome = outcome
        self.batches: list[Sequence[Message]] = []

    def delete_batch(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.batches.append(messages)
        return self._outcome(messages)


def message(number: int) -> Message:
    return Message(f"id-{number}", f"receipt-{number}", f"task-{number}", "r")


def nothing_failed(_: Sequence[Message]) -> Sequence[Message]:
    return ()


def test_messages_are_deleted_in_tens() -> None:
    queue = RecordingQueue(nothing_failed)
    deleter = MessageDeleter(queue)
    for number in range(25):
        deleter.delete(message(number))
    deleter.start()
    deleter.stop()
    assert [len(batch) for batch in queue.batches] == [10, 10, 5]


def test_a_single_message_does_not_wait_for_nine_others() -> None:
    queue = RecordingQueue(nothing_failed)
    deleter = MessageDeleter(queue)
    deleter.start()
    deleter.delete(message(1))
    wait_until(lambda: queue.batches == [[message(1)]], "the message has been deleted")
    deleter.stop()


def test_a_message_waits_for_others_before_it_is_deleted() -> None:
    queue = RecordingQueue(nothing_failed)
    deleter = MessageDeleter(queue, clock=lambda: 0.0)  # no time passes
    deleter.start()
    deleter.delete(message(1))
    assert queue.batches == []
    deleter.stop()
    assert queue.batches == [[message(1)]]


def test_stop_returns_after_the_last_message_has_been_deleted() -> None:
    may_finish = threading.Event()
    deleted: list[Message] = []

    def delete_slowly(messages: Sequence[Message]) -> Sequence[Message]:
        may_finish.wait()
        deleted.extend(messages)
        return ()

    deleter = MessageDeleter(RecordingQueue(delete_slowly))
    deleter.start()
    deleter.delete(message(1))
    stopping = threading.Thread(target=deleter.stop)
    stopping.start()
    assert stopping.is_alive()
    may_finish.set()
    stopping.join()
    assert deleted == [message(1)]


@pytest.mark.parametrize("stops_meanwhile", [False, True])
def test_a_message_of_a_batch_that_partly_failed_is_tried_again(*, stops_meanwhile: bool) -> None:
    failures = [[message(2)], []]
    queue = RecordingQueue(lambda _: failures.pop(0))
    deleter = MessageDeleter(queue)
    for number in range(1, 4):
        deleter.delete(message(number))
    deleter.start()
    if not stops_meanwhile:
        wait_until(lambda: len(queue.batches) == 2, "the message has been tried again")
    deleter.stop()
    assert queue.batches == [[message(1), message(2), message(3)], [message(2)]]


def test_messages_are_tried_again_when_the_queue_is_unavailable() -> None:
    def fail_once(_: Sequence[Message]) -> Sequence[Message]:
        if len(queue.batches) == 1:
            raise QueueUnavailable("DeleteMessageBatch: ThrottlingException")
        return ()

    queue = RecordingQueue(fail_once)
    deleter = MessageDeleter(queue)
    deleter.start()
    deleter.delete(message(1))
    wait_until(lambda: len(queue.batches) == 2, "the message has been tried again")
    deleter.stop()
    assert queue.batches == [[message(1)], [message(1)]]


def test_a_message_that_cannot_be_deleted_is_left_to_its_redelivery() -> None:
    queue = RecordingQueue(lambda messages: messages)
    deleter = MessageDeleter(queue)
    deleter.delete(message(1))
    deleter.start()
    wait_until(lambda: len(queue.batches) == MAX_TRIES, "the message has been tried")
    deleter.stop()
    assert len(queue.batches) == MAX_TRIES


def test_entries_that_failed_are_returned_unless_their_receipt_is_outdated(cloud: Cloud) -> None:
    queue = TaskQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    response = {
        "Successful": [{"Id": "0"}],
        "Failed": [
            {"Id": "1", "SenderFault": False, "Code": "InternalError"},
            {"Id": "2", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"},
        ],
    }
    with Stubber(cloud.sqs) as stubber:
        stubber.add_response("delete_message_batch", response)
        failed = queue.delete_batch([message(number) for number in range(3)])
    assert failed == [message(1)]


def test_deleted_messages_are_gone(cloud: Cloud) -> None:
    queue = TaskQueue(cloud.sqs, url=cloud.resources.task_queue_url)
    for number in range(3):
        queue.send(envelope(f"task-{number}"))
    assert queue.delete_batch(queue.receive(limit=10, wait_s=0)) == []
    assert cloud.messages()["queue"] == 0
