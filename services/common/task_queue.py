"""The task queue. A message names its task; the row has everything else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.common.aws import wrap_errors
from services.common.errors import QueueUnavailable

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import (
        DeleteMessageBatchRequestEntryTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

MAX_MESSAGES_PER_CALL = 10
"""The limit of SQS on messages received or changed by one call."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message. `task_id` is None if the body is not one of ours."""

    message_id: str
    receipt_handle: str
    task_id: str | None
    request_id: str | None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message says about its task, and the owner, which is its message group."""

    task_id: str
    request_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """Approximate numbers of messages, as reported by SQS."""

    visible: int
    in_flight: int
    delayed: int

    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


class TaskQueue:
    """Sends and receives messages. Every method raises ``QueueUnavailable``.

    The message group is the owner of the task, so that SQS keeps the waits of other owners short
    while one has a backlog ("Amazon SQS fair queues", Amazon SQS Developer Guide).
    """

    def __init__(self, client: "SQSClient", *, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, envelope: Envelope) -> None:
        with wrap_errors(QueueUnavailable):
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=_body(envelope),
                MessageGroupId=envelope.owner,
            )

    def send_all(self, envelopes: Sequence[Envelope]) -> Sequence[str]:
        """Send up to ten messages with one call. Returns the ids of tasks that were not sent."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(number),
                "MessageBody": _body(envelope),
                "MessageGroupId": envelope.owner,
            }
            for number, envelope in enumerate(envelopes)
        ]
        with wrap_errors(QueueUnavailable):
            response = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        return [envelopes[int(failed["Id"])].task_id for failed in response.get("Failed", ())]

    def send_copy(self, message: Message) -> None:
        """Send the body of a message that was received from another queue."""
        with wrap_errors(QueueUnavailable):
            self._client.send_message(QueueUrl=self._url, MessageBody=message.body or " ")

    def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        """Receive up to `limit` (1 to 10) messages, with a long poll of up to `wait_s` seconds."""
        with wrap_errors(QueueUnavailable):
            response = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=limit, WaitTimeSeconds=wait_s
            )
        return [
            Message(raw["MessageId"], raw["ReceiptHandle"], *parse_body(raw["Body"]), raw["Body"])
            for raw in response.get("Messages", ())
        ]

    def change_visibility(self, message: Message, *, timeout_s: float) -> None:
        """Hide the message for `timeout_s` from now. 0 makes it visible at once."""
        with wrap_errors(QueueUnavailable):
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=message.receipt_handle,
                VisibilityTimeout=round(timeout_s),
            )

    def return_messages(self, messages: Sequence[Message]) -> None:
        """Make up to ten messages visible at once, with one call."""
        with wrap_errors(QueueUnavailable):
            response = self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(position),
                        "ReceiptHandle": message.receipt_handle,
                        "VisibilityTimeout": 0,
                    }
                    for position, message in enumerate(messages)
                ],
            )
        if failed := response.get("Failed"):
            raise QueueUnavailable(f"ChangeMessageVisibilityBatch: {failed[0]['Code']}")

    def delete(self, message: Message) -> None:
        with wrap_errors(QueueUnavailable):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)

    def delete_batch(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Delete up to ten messages with one call. Return those that may be tried again.

        SQS answers 200 even if it could not delete some of them ("DeleteMessageBatch", Amazon SQS
        API Reference). A receipt that it no longer accepts is not worth another try: the message
        has been received again.
        """
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(position), "ReceiptHandle": message.receipt_handle}
            for position, message in enumerate(messages)
        ]
        with wrap_errors(QueueUnavailable):
            response = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return [
            messages[int(failed["Id"])]
            for failed in response.get("Failed", ())
            if not failed["SenderFault"]
        ]

    def backlog(self) -> Backlog:
        with wrap_errors(QueueUnavailable):
            response = self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        attributes = response["Attributes"]
        return Backlog(
            visible=int(attributes["ApproximateNumberOfMessages"]),
            in_flight=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )


def _body(envelope: Envelope) -> str:
    return json.dumps({"taskId": envelope.task_id, "requestId": envelope.request_id})


def parse_body(body: str) -> tuple[str | None, str | None]:
    """The task id and the request id in a message, or None for both if it is not one of ours."""
    try:
        content = json.loads(body)
        return str(content["taskId"]), str(content["requestId"])
    except (ValueError, KeyError, TypeError, RecursionError):  # RecursionError: deep nesting
        return None, None
