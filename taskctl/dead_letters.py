"""The dead-letter queue: its messages, the tasks that they name, and how to redrive them.

A message only names a task; the task's row says why the task failed. SQS has no way to read a
message without receiving it, so messages are hidden from other receivers while a command reads
them. They become visible again when it ends.

A redrive can stop after any call without losing a task. It first retries the row, so that the
reconciler checks the task; then it sends a new message; then it deletes the message from the
dead-letter queue. If it stops in between, that message stays and the next redrive deletes it.
SQS's own ``StartMessageMoveTask`` moves all messages of a queue and does not change the rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from services.common.aws import wrap_errors
from services.common.errors import (
    AttemptsExhausted,
    DeadlinePassed,
    ImagingCrashed,
    ImagingTimeout,
    InternalError,
    OperationInvalid,
    QueueUnavailable,
    StorageFailed,
)
from services.common.task import Phase, SubmissionPolicy, Task, is_task_id
from services.common.task_queue import (
    MAX_MESSAGES_PER_CALL,
    Envelope,
    Message,
    TaskQueue,
    parse_body,
)
from services.common.task_table import TaskTable, TransitionRefused

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

VISIBILITY_TIMEOUT_S = 300
"""How long received messages stay hidden if the command is killed."""
POLL_WAIT_S = 1
"""With a wait above 0, SQS queries all of its servers, so an empty response means that there is no
visible message ("Amazon SQS short and long polling", Amazon SQS Developer Guide)."""


class Diagnosis(NamedTuple):
    """`code` is the task's failure code, or one of the codes below if the task has not failed.

    `sentence` says what happened, and `advice` what to do.
    """

    code: str
    sentence: str
    advice: str


UNREADABLE = Diagnosis(
    "unreadable",
    "The message does not name a task.",
    "Find out who else sends messages to the queue. A redrive deletes the message.",
)
TASK_MISSING = Diagnosis(
    "task_missing",
    "The task has no row: it was never recorded, or it has expired.",
    "A redrive deletes the message.",
)
TASK_OPEN = Diagnosis(
    "task_open",
    "The task has not ended: it was retried, or its message was received 1,000 times.",
    "A redrive sends the task again, then deletes the message.",
)
TASK_COMPLETED = Diagnosis(
    "task_completed", "The task has completed since.", "A redrive deletes the message."
)
TASK_CANCELED = Diagnosis(
    "task_canceled",
    "The client has canceled the task since.",
    "A redrive deletes the message.",
)

ADVICE: Mapping[str, str] = {
    AttemptsExhausted.code: "Each attempt was killed or lost its connection to AWS. Search the "
    "workers' logs for the task ID. Redrive when the cause is fixed.",
    DeadlinePassed.code: "The task waited too long. Check the backlog and the scaling of the "
    "workers. Redrive the tasks that are still needed.",
    StorageFailed.code: "Check the bucket, its policy and the health of S3. Redrive when results "
    "can be stored again.",
    ImagingCrashed.code: "The image needs more memory than an imaging process may use, or it "
    "triggers a bug: the workers' logs show which. Redrive when the limit is raised or the bug is "
    "fixed.",
    ImagingTimeout.code: "The workers had too little CPU for the image. Redrive when they have "
    "more or are less busy.",
    OperationInvalid.code: "The workers do not know an operation that the API accepted. Deploy "
    "workers of the same version as the API. Redrive when they run.",
    InternalError.code: "The task met a bug. Search the workers' logs for the task ID: the entry "
    "of the attempt has the traceback. Redrive when the fix is deployed.",
}
"""What to do about a failure that is our fault, by failure code."""

NOT_OUR_FAULT = "The client or the source caused the failure. A redrive tries once more."


def explain(task_id: str | None, task: Task | None, now: datetime) -> Diagnosis:
    """Why a message that names `task_id` is in the dead-letter queue. `task` is its row."""
    if task_id is None:
        return UNREADABLE
    if task is None:
        return TASK_MISSING
    match task.phase(now):
        case Phase.FAILED:
            code = task.failure_code or InternalError.code
            return Diagnosis(code, task.failure_reason or "", ADVICE.get(code, NOT_OUR_FAULT))
        case Phase.COMPLETED:
            return TASK_COMPLETED
        case Phase.CANCELED:
            return TASK_CANCELED
        case _:
            return TASK_OPEN


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter queue.

    `sent_at` is the time of the first send: the retention period of the dead-letter queue counts
    from there.
    """

    message: Message
    body: str
    sent_at: datetime

    @property
    def task_id(self) -> str | None:
        """None if the body does not name a task."""
        task_id = self.message.task_id
        return task_id if task_id is not None and is_task_id(task_id) else None


@dataclass(frozen=True, slots=True)
class DeadLetterEntry:
    """A task and all of its dead letters, or one dead letter that does not name a task."""

    letters: Sequence[DeadLetter]
    task: Task | None
    diagnosis: Diagnosis

    @property
    def task_id(self) -> str | None:
        return self.letters[0].task_id


class RedriveOutcome(StrEnum):
    RETRIED = "retried"
    """The task has new attempts and a new message."""
    SENT = "sent again"
    """The task was open. It has a new message."""
    DELETED = "only deleted"
    """Only the dead letters were deleted: the task needed no retry."""


class DeadLetterQueue:
    """Every method raises ``QueueUnavailable`` if SQS does not answer or returns an error.

    `wait_s` is the wait time of a receive call.
    """

    def __init__(self, client: "SQSClient", *, url: str, wait_s: int = POLL_WAIT_S) -> None:
        self._client = client
        self._url = url
        self._wait_s = wait_s
        self._queue = TaskQueue(client, url=url)
        self._received: dict[str, DeadLetter] = {}

    @contextmanager
    def receive(self, *, limit: int) -> Iterator[Sequence[DeadLetter]]:
        """Up to `limit` messages, oldest first, without duplicates.

        They are hidden from other receivers inside the ``with`` block. On exit, those that were
        not deleted become visible again.
        """
        try:
            while len(self._received) < limit:
                batch = self._receive_batch(limit - len(self._received))
                if not batch:
                    break
                # The newer receipt handle of a message that was delivered twice is the valid one.
                self._received.update({letter.message.message_id: letter for letter in batch})
            yield sorted(self._received.values(), key=lambda letter: letter.sent_at)
        finally:
            self._make_visible()

    def delete(self, letter: DeadLetter) -> None:
        self._queue.delete(letter.message)
        self._received.pop(letter.message.message_id, None)

    def _receive_batch(self, limit: int) -> Sequence[DeadLetter]:
        with wrap_errors(QueueUnavailable):
            response = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(limit, MAX_MESSAGES_PER_CALL),
                WaitTimeSeconds=self._wait_s,
                VisibilityTimeout=VISIBILITY_TIMEOUT_S,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        return [
            DeadLetter(
                message=Message(raw["MessageId"], raw["ReceiptHandle"], *parse_body(raw["Body"])),
                body=raw["Body"],
                sent_at=datetime.fromtimestamp(int(raw["Attributes"]["SentTimestamp"]) / 1000, UTC),
            )
            for raw in response.get("Messages", ())
        ]

    def _make_visible(self) -> None:
        messages = [letter.message for letter in self._received.values()]
        self._received.clear()
        for start in range(0, len(messages), MAX_MESSAGES_PER_CALL):
            self._queue.return_messages(messages[start : start + MAX_MESSAGES_PER_CALL])


class DeadLetters:
    """Joins the dead-letter queue with the table, and redrives to the task queue.

    `policy` sets the attempts and the deadline of a redriven task. Every method raises
    ``AwsError``.
    """

    def __init__(
        self,
        *,
        letters: DeadLetterQueue,
        table: TaskTable,
        queue: TaskQueue,
        policy: SubmissionPolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self._letters = letters
        self._table = table
        self._queue = queue
        self._policy = policy
        self._clock = clock

    @contextmanager
    def entries(self, *, limit: int) -> Iterator[Sequence[DeadLetterEntry]]:
        """Up to `limit` messages, grouped by task, oldest first; hidden inside the block."""
        with self._letters.receive(limit=limit) as letters:
            by_task: dict[str, list[DeadLetter]] = {}
            for letter in letters:
                by_task.setdefault(letter.task_id or letter.message.message_id, []).append(letter)
            yield [self._entry(of_task) for of_task in by_task.values()]

    def redrive(self, entry: DeadLetterEntry) -> RedriveOutcome:
        """Retry the task if it has failed, or send it if it is open. Then delete its dead letters.

        The dead letter of an open task may be its last message, and an open task that gets a
        second message loses nothing.
        """
        outcome = RedriveOutcome.DELETED
        if entry.task is not None and entry.task.phase(self._clock()) is Phase.FAILED:
            outcome = self._retry(entry.task)
        elif entry.task is not None and not entry.task.is_terminal():
            outcome = self._send(entry.task)
        for letter in entry.letters:
            self._letters.delete(letter)
        return outcome

    def _retry(self, task: Task) -> RedriveOutcome:
        try:
            self._table.retry(task.task_id, policy=self._policy, now=self._clock())
        except TransitionRefused:
            return self._send(task)  # the client has retried the task in the meantime
        self._queue.send(Envelope(task.task_id, request_id=task.request_id, owner=task.owner))
        return RedriveOutcome.RETRIED

    def _send(self, task: Task) -> RedriveOutcome:
        self._queue.send(Envelope(task.task_id, request_id=task.request_id, owner=task.owner))
        return RedriveOutcome.SENT

    def _entry(self, letters: Sequence[DeadLetter]) -> DeadLetterEntry:
        task_id = letters[0].task_id
        task = self._table.get(task_id) if task_id is not None else None
        return DeadLetterEntry(letters, task, explain(task_id, task, self._clock()))
