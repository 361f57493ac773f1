"""An SQS client on queues in memory, with the calls that the services make.

Like standard queues, these guarantee little: any visible message may come first, a message in
flight may be delivered again, and an outdated receipt may or may not delete ("Amazon SQS standard
queues", Amazon SQS Developer Guide).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError


@dataclass(eq=False)
class StoredMessage:
    """A message that has not been deleted."""

    message_id: str
    body: str
    sent_at: datetime
    visible_at: datetime
    receive_count: int = 0
    receipts: list[str] = field(default_factory=list)


@dataclass
class MemoryQueue:
    visibility: timedelta
    dead_letters: "MemoryQueue | None" = None
    max_receives: int = 0
    messages: list[StoredMessage] = field(default_factory=list)


@dataclass
class Delivery:
    """Chooses what the next receive delivers."""

    pick: int = 0
    """Index of the first message, among those that may be delivered."""
    duplicate: bool = False
    """Whether messages in flight may be delivered, too."""


class MemorySqs:
    """`queues` by URL. `on_send` and `on_delete` are called before the change."""

    def __init__(
        self,
        queues: Mapping[str, MemoryQueue],
        *,
        clock: Callable[[], datetime],
        outdated_receipts_work: bool = False,
        on_send: Callable[[str, StoredMessage], None] = lambda _url, _message: None,
        on_delete: Callable[[str, StoredMessage], None] = lambda _url, _message: None,
    ) -> None:
        self.queues = queues
        self.delivery = Delivery()
        self._clock = clock
        self._outdated_receipts_work = outdated_receipts_work
        self._on_send = on_send
        self._on_delete = on_delete
        self._numbers: Iterator[int] = itertools.count(1)

    def send_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MessageBody: str,  # noqa: N803
        **_: Any,
    ) -> Mapping[str, Any]:
        now = self._clock()
        message = StoredMessage(
            f"message-{next(self._numbers)}", MessageBody, sent_at=now, visible_at=now
        )
        self._on_send(QueueUrl, message)
        self.queues[QueueUrl].messages.append(message)
        return {"MessageId": message.message_id}

    def send_message_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        Entries: Sequence[Mapping[str, Any]],  # noqa: N803
    ) -> Mapping[str, Any]:
        for entry in Entries:
            self.send_message(QueueUrl=QueueUrl, MessageBody=entry["MessageBody"])
        return {}

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        VisibilityTimeout: int | None = None,  # noqa: N803
        **_: Any,
    ) -> Mapping[str, Any]:
        queue = self.queues[QueueUrl]
        visibility = (
            queue.visibility if VisibilityTimeout is None else timedelta(seconds=VisibilityTimeout)
        )
        received: list[StoredMessage] = []
        while len(received) < MaxNumberOfMessages:
            candidates = [
                message for message in self._deliverable(queue) if message not in received
            ]
            if not candidates:
                break
            message = candidates[self.delivery.pick % len(candidates)]
            if queue.dead_letters is not None and message.receive_count >= queue.max_receives:
                queue.messages.remove(message)
                message.visible_at = self._clock()
                queue.dead_letters.messages.append(message)
                continue
            message.receive_count += 1
            message.receipts.append(f"{message.message_id}#{message.receive_count}")
            message.visible_at = self._clock() + visibility
            received.append(message)
        return {"Messages": [self._to_response(message) for message in received]}

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> Mapping[str, Any]:
        message = self._find(QueueUrl, ReceiptHandle)
        if message is None or message.visible_at <= self._clock():
            raise ClientError({"Error": {"Code": "MessageNotInflight"}}, "ChangeMessageVisibility")
        message.visible_at = self._clock() + timedelta(seconds=VisibilityTimeout)
        return {}

    def change_message_visibility_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        Entries: Sequence[Mapping[str, Any]],  # noqa: N803
    ) -> Mapping[str, Any]:
        failed = []
        for entry in Entries:
            try:
                self.change_message_visibility(
                    QueueUrl=QueueUrl,
                    ReceiptHandle=entry["ReceiptHandle"],
                    VisibilityTimeout=entry["VisibilityTimeout"],
                )
            except ClientError:
                failed.append({"Id": entry["Id"], "Code": "MessageNotInflight"})
        return {"Failed": failed}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> Mapping[str, Any]:  # noqa: N803
        message = self._find(QueueUrl, ReceiptHandle)
        if message is not None:
            self._on_delete(QueueUrl, message)
            self.queues[QueueUrl].messages.remove(message)
        return {}

    def get_queue_attributes(self, *, QueueUrl: str, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        messages = self.queues[QueueUrl].messages
        visible = sum(message.visible_at <= self._clock() for message in messages)
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(len(messages) - visible),
                "ApproximateNumberOfMessagesDelayed": "0",
            }
        }

    def _deliverable(self, queue: MemoryQueue) -> Sequence[StoredMessage]:
        now = self._clock()
        return [
            message
            for message in queue.messages
            if message.visible_at <= now or self.delivery.duplicate
        ]

    def _find(self, url: str, receipt: str) -> StoredMessage | None:
        for message in self.queues[url].messages:
            if message.receipts and receipt in message.receipts:
                newest = receipt == message.receipts[-1]
                return message if newest or self._outdated_receipts_work else None
        return None

    @staticmethod
    def _to_response(message: StoredMessage) -> Mapping[str, Any]:
        return {
            "MessageId": message.message_id,
            "ReceiptHandle": message.receipts[-1],
            "Body": message.body,
            "Attributes": {"SentTimestamp": str(round(message.sent_at.timestamp() * 1000))},
        }
