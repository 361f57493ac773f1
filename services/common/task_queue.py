"""The task queue. A message carries only the task's id; the row holds everything else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.common.aws import wrap_errors
from services.common.errors import QueueUnavailable

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

MAX_MESSAGES_PER_CALL = 10
"""The most messages that one SQS call returns."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message. `task_id` is None when the body is not one of ours."""

    message_id: str
    receipt_handle: str
    task_id: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Approximate numbers of messages, as SQS counts them."""

    visible: int
    in_flight: int
    delayed: int


class TaskQueue:
    """Every method raises ``QueueUnavailable`` when SQS does not answer or refuses to serve."""

    def __init__(self, client: "SQSClient", *, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, task_id: str, *, request_id: str) -> None:
        body = json.dumps({"taskId": task_id, "requestId": request_id})
        with wrap_errors(QueueUnavailable):
            self._client.send_message(QueueUrl=self._url, MessageBody=body)

    def receive(self, *, limit: int, wait_s: int) -> Sequence[Message]:
        """Long-poll for up to `wait_s` seconds, for at most `limit` (1 to 10) messages."""
        with wrap_errors(QueueUnavailable):
            answer = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=limit, WaitTimeSeconds=wait_s
            )
        return [
            Message(raw["MessageId"], raw["ReceiptHandle"], *parse_body(raw["Body"]))
            for raw in answer.get("Messages", ())
        ]

    def change_visibility(self, message: Message, *, timeout_s: float) -> None:
        """Keep the message hidden for `timeout_s` from now; 0 shows it at once."""
        with wrap_errors(QueueUnavailable):
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=message.receipt_handle,
                VisibilityTimeout=round(timeout_s),
            )

    def return_messages(self, messages: Sequence[Message]) -> None:
        """Show up to ten messages again at once, with one call."""
        with wrap_errors(QueueUnavailable):
            answer = self._client.change_message_visibility_batch(
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
        if failed := answer.get("Failed"):
            raise QueueUnavailable(f"ChangeMessageVisibilityBatch: {failed[0]['Code']}")

    def delete(self, message: Message) -> None:
        with wrap_errors(QueueUnavailable):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)

    def backlog(self) -> Backlog:
        with wrap_errors(QueueUnavailable):
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        numbers = answer["Attributes"]
        return Backlog(
            visible=int(numbers["ApproximateNumberOfMessages"]),
            in_flight=int(numbers["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(numbers["ApproximateNumberOfMessagesDelayed"]),
        )


def parse_body(body: str) -> tuple[str | None, str | None]:
    """The ids of task and request that a message names; None when it is not one of ours."""
    try:
        content = json.loads(body)
        return str(content["taskId"]), str(content["requestId"])
    except (ValueError, KeyError, TypeError, RecursionError):  # the last: nested without end
        return None, None
