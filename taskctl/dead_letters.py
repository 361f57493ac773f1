"""The dead-letter queue: what lies in it, why, and how it gets another chance.

A dead letter is a message that no worker could settle. It only names a task; why it is here, the
task's row says. To look at a queue is to receive from it, so letters are held for as long as
somebody looks, hidden from others, and shown again afterwards.

A redrive may break off anywhere: first the row is retried, which puts the task back under the
reconciler's eyes; then a new message is sent; then the dead letter is deleted. What remains at
worst is a letter whose task has moved on, and the next redrive deletes that. (SQS's own
``StartMessageMoveTask`` cannot choose what it moves, and knows of no rows.)
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
    QueueUnavailable,
    StorageFailed,
)
from services.common.task import Phase, SubmissionPolicy, Task, is_task_id
from services.common.task_queue import MAX_MESSAGES_PER_CALL, Message, TaskQueue, parse_body
from services.common.task_table import TaskTable, TransitionRefused

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

HOLD_S = 300
"""How long letters stay hidden when whoever holds them dies."""
WAIT_S = 1
"""A long poll asks all of SQS's servers: when it brings nothing, there is nothing."""


class Diagnosis(NamedTuple):
    """`code` is the failure code of the task, or says that it has not failed."""

    code: str
    sentence: str
    """What happened, for a person."""
    advice: str
    """What to do."""


UNREADABLE = Diagnosis(
    "unreadable",
    "The message is not one of ours.",
    "Find out who else sends to the queue. A redrive deletes the letter.",
)
TASK_MISSING = Diagnosis(
    "task_missing",
    "The message names a task of which there is no row: it was never recorded, or has expired.",
    "A redrive deletes the letter.",
)
TASK_OPEN = Diagnosis(
    "task_open",
    "The task is not over: it was retried, or the table did not answer when workers wanted it.",
    "The reconciler sends it again when it is due. A redrive deletes the letter.",
)
TASK_COMPLETED = Diagnosis(
    "task_completed", "The task has been completed since.", "A redrive deletes the letter."
)
TASK_CANCELED = Diagnosis(
    "task_canceled", "The client has canceled the task since.", "A redrive deletes the letter."
)

ADVICE: Mapping[str, str] = {
    AttemptsExhausted.code: "Its workers were killed or lost AWS in the middle, each time: look "
    "for the task's id in their logs. Redrive when that has ended.",
    DeadlinePassed.code: "It waited too long: look at the backlog and at how the workers scale. "
    "Redrive what is still wanted.",
    StorageFailed.code: "Look at the bucket, its policy, and S3's health. Redrive when it takes "
    "results again.",
    ImagingCrashed.code: "Either the image needs more memory than a child may use, or it meets a "
    "bug: the workers' logs say which. Redrive when one of them has changed.",
    ImagingTimeout.code: "The workers had too little CPU for it. Redrive when they have more, or "
    "are less busy.",
    InternalError.code: "A bug: the log of the attempt has its traceback, under the task's id. "
    "Redrive when its repair is deployed.",
}
"""What to do about a task that failed by a fault of ours."""

NOT_OURS = "The fault is not ours. A redrive tries once more."


def explain(task_id: str | None, task: Task | None, now: datetime) -> Diagnosis:
    """Why a message that names `task_id` is a dead letter, by its row `task`."""
    if task_id is None:
        return UNREADABLE
    if task is None:
        return TASK_MISSING
    match task.phase(now):
        case Phase.FAILED:
            code = task.failure_code or InternalError.code
            return Diagnosis(code, task.failure_reason or "", ADVICE.get(code, NOT_OURS))
        case Phase.COMPLETED:
            return TASK_COMPLETED
        case Phase.CANCELED:
            return TASK_CANCELED
        case _:
            return TASK_OPEN


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead message. `task_id` is None when the body names no task."""

    message: Message
    body: str
    sent_at: datetime
    """When it was sent first; its time in the dead-letter queue counts from then."""

    @property
    def task_id(self) -> str | None:
        task_id = self.message.task_id
        return task_id if task_id is not None and is_task_id(task_id) else None


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """A task with all of its dead letters, or one letter that names none."""

    letters: Sequence[DeadLetter]
    task: Task | None
    diagnosis: Diagnosis

    @property
    def task_id(self) -> str | None:
        return self.letters[0].task_id


class Redrive(StrEnum):
    """What became of a case."""

    RETRIED = "retried"
    """The task has new attempts and a new message."""
    DELETED = "deleted"
    """The task needed none: only the letters are gone."""


class DeadLetterQueue:
    """Every method raises ``QueueUnavailable`` when SQS does not answer or refuses to serve.

    `wait_s` is how long a poll waits before it says that there are no more letters.
    """

    def __init__(self, client: "SQSClient", *, url: str, wait_s: int = WAIT_S) -> None:
        self._client = client
        self._url = url
        self._wait_s = wait_s
        self._queue = TaskQueue(client, url=url)
        self._held: dict[str, DeadLetter] = {}

    @contextmanager
    def held(self, *, limit: int) -> Iterator[Sequence[DeadLetter]]:
        """Up to `limit` letters, oldest first and each once, hidden from others inside the block.

        Letters that were not deleted are shown again afterwards.
        """
        try:
            while len(self._held) < limit and (letters := self._receive(limit - len(self._held))):
                # Of a letter that was delivered twice the newer receipt counts.
                self._held.update({letter.message.message_id: letter for letter in letters})
            yield sorted(self._held.values(), key=lambda letter: letter.sent_at)
        finally:
            self._return_messages()

    def delete(self, letter: DeadLetter) -> None:
        self._queue.delete(letter.message)
        self._held.pop(letter.message.message_id, None)

    def _receive(self, limit: int) -> Sequence[DeadLetter]:
        with wrap_errors(QueueUnavailable):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(limit, MAX_MESSAGES_PER_CALL),
                WaitTimeSeconds=self._wait_s,
                VisibilityTimeout=HOLD_S,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        return [
            DeadLetter(
                message=Message(raw["MessageId"], raw["ReceiptHandle"], *parse_body(raw["Body"])),
                body=raw["Body"],
                sent_at=datetime.fromtimestamp(int(raw["Attributes"]["SentTimestamp"]) / 1000, UTC),
            )
            for raw in answer.get("Messages", ())
        ]

    def _return_messages(self) -> None:
        messages = [letter.message for letter in self._held.values()]
        self._held.clear()
        for start in range(0, len(messages), MAX_MESSAGES_PER_CALL):
            self._queue.return_messages(messages[start : start + MAX_MESSAGES_PER_CALL])


class DeadLetters:
    """The dead-letter queue beside the table that explains it, and the queue that tries again.

    Every method raises ``AwsError``. `policy` is what a retried task is promised.
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
    def cases(self, *, limit: int) -> Iterator[Sequence[DeadLetterGroup]]:
        """What up to `limit` letters are about, oldest first; nobody else sees them meanwhile."""
        with self._letters.held(limit=limit) as letters:
            by_task: dict[str, list[DeadLetter]] = {}
            for letter in letters:
                by_task.setdefault(letter.task_id or letter.message.message_id, []).append(letter)
            yield [self._case(about_one) for about_one in by_task.values()]

    def redrive(self, case: DeadLetterGroup) -> Redrive:
        """Give a task that failed new attempts, and delete its letters; others are only deleted."""
        outcome = Redrive.DELETED
        if case.task is not None and case.task.phase(self._clock()) is Phase.FAILED:
            outcome = self._retry(case.task)
        for letter in case.letters:
            self._letters.delete(letter)
        return outcome

    def _retry(self, task: Task) -> Redrive:
        try:
            self._table.retry(task.task_id, policy=self._policy, now=self._clock())
        except TransitionRefused:
            return Redrive.DELETED  # its client was faster
        self._queue.send(task.task_id, request_id=task.request_id)
        return Redrive.RETRIED

    def _case(self, letters: Sequence[DeadLetter]) -> DeadLetterGroup:
        task_id = letters[0].task_id
        task = self._table.get(task_id) if task_id is not None else None
        return DeadLetterGroup(letters, task, explain(task_id, task, self._clock()))
