"""Queues in memory behind the calls of an SQS client that our code makes.

Standard queues promise little, and these keep no more than that: any visible message may come
first, a message in flight may be delivered again, and an outdated receipt may or may not delete
("Amazon SQS standard queues", Amazon SQS Developer Guide).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError


@dataclass(eq=False)
class Sent:
    """A message that has not been deleted."""

    message_id: str
    body: str
    sent_at: datetime
    visible_at: datetime
    receives: int = 0
    receipts: list[str] = field(default_factory=list)


@dataclass
class Queue:
    visibility: timedelta
    dead_letters: "Queue | None" = None
    max_receives: int = 0
    messages: list[Sent] = field(default_factory=list)


@dataclass
class Delivery:
    """What SQS does with the receives of the moment."""

    pick: int = 0
    """Which of the messages that may be delivered comes first."""
    duplicate: bool = False
    """Also a message that is in flight may."""


class MemorySqs:
    """Queues by their URLs. `on_send` and `on_delete` see every message before it comes or goes."""

    def __init__(
        self,
        queues: Mapping[str, Queue],
        *,
        clock: Callable[[], datetime],
        outdated_receipts_work: bool = False,
        on_send: Callable[[Sent], None] = lambda _: None,
        on_delete: Callable[[str, Sent], None] = lambda _url, _sent: None,
    ) -> None:
        self.queues = queues
        self.delivery = Delivery()
        self._clock = clock
        self._outdated_receipts_work = outdated_receipts_work
        self._on_send = on_send
        self._on_delete = on_delete
        self._numbers: Iterator[int] = itertools.count(1)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> Mapping[str, Any]:  # noqa: N803
        now = self._clock()
        sent = Sent(f"message-{next(self._numbers)}", MessageBody, sent_at=now, visible_at=now)
        self._on_send(sent)
        self.queues[QueueUrl].messages.append(sent)
        return {"MessageId": sent.message_id}

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
        received: list[Sent] = []
        while len(received) < MaxNumberOfMessages:
            candidates = [sent for sent in self._deliverable(queue) if sent not in received]
            if not candidates:
                break
            sent = candidates[self.delivery.pick % len(candidates)]
            if queue.dead_letters is not None and sent.receives >= queue.max_receives:
                queue.messages.remove(sent)
                sent.visible_at = self._clock()
                queue.dead_letters.messages.append(sent)
                continue
            sent.receives += 1
            sent.receipts.append(f"{sent.message_id}#{sent.receives}")
            sent.visible_at = self._clock() + visibility
            received.append(sent)
        return {"Messages": [self._shown(sent) for sent in received]}

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> Mapping[str, Any]:
        sent = self._found(QueueUrl, ReceiptHandle)
        if sent is None or sent.visible_at <= self._clock():
            raise ClientError({"Error": {"Code": "MessageNotInflight"}}, "ChangeMessageVisibility")
        sent.visible_at = self._clock() + timedelta(seconds=VisibilityTimeout)
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
        sent = self._found(QueueUrl, ReceiptHandle)
        if sent is not None:
            self._on_delete(QueueUrl, sent)
            self.queues[QueueUrl].messages.remove(sent)
        return {}

    def get_queue_attributes(self, *, QueueUrl: str, **_: Any) -> Mapping[str, Any]:  # noqa: N803
        messages = self.queues[QueueUrl].messages
        visible = sum(sent.visible_at <= self._clock() for sent in messages)
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(len(messages) - visible),
                "ApproximateNumberOfMessagesDelayed": "0",
            }
        }

    def _deliverable(self, queue: Queue) -> Sequence[Sent]:
        now = self._clock()
        return [s for s in queue.messages if s.visible_at <= now or self.delivery.duplicate]

    def _found(self, url: str, receipt: str) -> Sent | None:
        for sent in self.queues[url].messages:
            if sent.receipts and receipt in sent.receipts:
                newest = receipt == sent.receipts[-1]
                return sent if newest or self._outdated_receipts_work else None
        return None

    @staticmethod
    def _shown(sent: Sent) -> Mapping[str, Any]:
        return {
            "MessageId": sent.message_id,
            "ReceiptHandle": sent.receipts[-1],
            "Body": sent.body,
            "Attributes": {"SentTimestamp": str(round(sent.sent_at.timestamp() * 1000))},
        }
