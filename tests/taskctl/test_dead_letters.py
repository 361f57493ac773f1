"""Reading dead letters does not remove them, and an interrupted redrive loses no task."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from botocore.exceptions import ReadTimeoutError

from services.common import errors
from services.common.errors import AttemptError, AwsError, Fault, QueueUnavailable
from services.common.task import Phase, Status, Task
from services.common.task_queue import TaskQueue
from services.common.task_record import to_item
from services.common.task_table import TaskTable
from taskctl.dead_letters import (
    ADVICE,
    NOT_OUR_FAULT,
    DeadLetterEntry,
    DeadLetterQueue,
    DeadLetters,
    RedriveOutcome,
)
from tests.conftest import Clock, Cloud
from tests.tasks import POLICY, envelope, new_task, task_in

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient


def task_id(number: int) -> str:
    return str(UUID(int=number, version=4))


@dataclass
class FailingClient:
    """A client whose named calls time out, before or after they take effect."""

    client: object
    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            if name in self.before:
                raise ReadTimeoutError(endpoint_url="https://aws")
            response = getattr(self.client, name)(**arguments)
            if name in self.after:
                raise ReadTimeoutError(endpoint_url="https://aws")
            return response

        return call


class Operator:
    """Puts messages into the dead-letter queue, lists and redrives them."""

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self.cloud, self.clock = cloud, clock

    def dead_letters(self, *, sqs: object = None, dynamodb: object = None) -> DeadLetters:
        resources = self.cloud.resources
        queue_client = cast("SQSClient", sqs or self.cloud.sqs)
        return DeadLetters(
            letters=DeadLetterQueue(queue_client, url=resources.dead_letter_queue_url, wait_s=0),
            table=TaskTable(
                cast("Any", dynamodb or self.cloud.dynamodb),
                table=resources.task_table,
                retention=POLICY.retention,
            ),
            queue=TaskQueue(queue_client, url=resources.task_queue_url),
            policy=POLICY,
            clock=self.clock,
        )

    def put(self, task: Task) -> Task:
        self.cloud.dynamodb.put_item(TableName=self.cloud.resources.task_table, Item=to_item(task))
        return task

    def add_letters(self, *task_ids: str) -> None:
        """Send a message for each task to the dead-letter queue."""
        for each in task_ids:
            self.dead_letter_queue().send(envelope(each, request_id="r"))

    def dead_letter_queue(self) -> TaskQueue:
        return TaskQueue(self.cloud.sqs, url=self.cloud.resources.dead_letter_queue_url)

    def entries(self) -> list[DeadLetterEntry]:
        with self.dead_letters().entries(limit=1_000) as entries:
            return list(entries)

    def redrive_all(self, dead_letters: DeadLetters | None = None) -> list[RedriveOutcome]:
        dead_letters = dead_letters or self.dead_letters()
        with dead_letters.entries(limit=1_000) as entries:
            return [dead_letters.redrive(entry) for entry in entries]

    def table(self) -> TaskTable:
        return TaskTable(
            self.cloud.dynamodb,
            table=self.cloud.resources.task_table,
            retention=POLICY.retention,
        )

    def row(self, task: Task) -> Task:
        row = self.table().get(task.task_id)
        assert row is not None
        return row


@pytest.fixture
def operator(cloud: Cloud, clock: Clock) -> Operator:
    return Operator(cloud, clock)


def failed(number: int = 1, code: str = "storage_failed") -> Task:
    return task_in(
        Phase.FAILED,
        task_id=task_id(number),
        attempt=5,
        failure_code=code,
        failure_reason="The result could not be stored.",
        finished_at=None,
    )


def test_messages_are_visible_again_after_reading(operator: Operator) -> None:
    tasks = [operator.put(failed(number)) for number in range(25)]
    operator.add_letters(*(task.task_id for task in tasks))
    for _ in range(2):
        assert {entry.task_id for entry in operator.entries()} == {task.task_id for task in tasks}
    assert operator.dead_letter_queue().backlog().visible == 25


def test_messages_are_hidden_from_others_while_they_are_read(operator: Operator) -> None:
    operator.add_letters(operator.put(failed()).task_id)
    with (
        operator.dead_letters().entries(limit=10) as mine,
        operator.dead_letters().entries(limit=10) as others,
    ):
        assert (len(mine), len(others)) == (1, 0)


def test_no_more_messages_than_the_limit_are_received(operator: Operator) -> None:
    operator.add_letters(*(operator.put(failed(number)).task_id for number in range(15)))
    with operator.dead_letters().entries(limit=12) as entries:
        assert len(entries) == 12
        assert operator.dead_letter_queue().backlog().visible == 3


def test_messages_are_visible_again_after_an_error(operator: Operator) -> None:
    operator.add_letters(operator.put(failed()).task_id)
    failing_client = FailingClient(operator.cloud.dynamodb, before={"get_item"})
    with pytest.raises(AwsError), operator.dead_letters(dynamodb=failing_client).entries(limit=10):
        pass
    assert operator.dead_letter_queue().backlog().visible == 1


def test_an_entry_has_the_failure_and_advice(operator: Operator) -> None:
    task = operator.put(failed(code="imaging_crashed"))
    operator.add_letters(task.task_id)
    [entry] = operator.entries()
    assert entry.task == task
    assert entry.diagnosis.code == "imaging_crashed"
    assert entry.diagnosis.sentence == task.failure_reason
    assert "memory" in entry.diagnosis.advice


def test_every_failure_code_that_is_our_fault_has_advice() -> None:
    codes = {
        cls.code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, AttemptError) and cls.fault is Fault.OURS
    }
    assert set(ADVICE) == codes


def test_a_failure_that_is_not_our_fault_is_explained_as_such(operator: Operator) -> None:
    operator.add_letters(operator.put(failed(code="source_not_found")).task_id)
    [entry] = operator.entries()
    assert entry.diagnosis.advice == NOT_OUR_FAULT


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.PENDING, "task_open"),
        (Phase.LEASED, "task_open"),
        (Phase.ABANDONED, "task_open"),
        (Phase.RETRYING, "task_open"),
        (Phase.COMPLETED, "task_completed"),
        (Phase.CANCELED, "task_canceled"),
    ],
)
def test_a_redrive_does_not_change_a_task_that_is_not_failed(
    operator: Operator, phase: Phase, code: str
) -> None:
    task = operator.put(task_in(phase))
    operator.add_letters(task.task_id)
    [entry] = operator.entries()
    assert entry.diagnosis.code == code
    is_open = code == "task_open"
    assert operator.redrive_all() == [RedriveOutcome.SENT if is_open else RedriveOutcome.DELETED]
    assert operator.row(task) == task
    assert operator.cloud.messages() == {"queue": int(is_open), "dead letters": 0}


def test_messages_without_a_task_are_listed_and_deleted(operator: Operator) -> None:
    bodies = ["hello", "{}", '{"taskId": "", "requestId": ""}', "[" * 100_000]
    for body in bodies:
        operator.cloud.sqs.send_message(
            QueueUrl=operator.cloud.resources.dead_letter_queue_url, MessageBody=body
        )
    operator.add_letters(task_id(9))
    entries = operator.entries()
    assert [entry.diagnosis.code for entry in entries] == ["unreadable"] * 4 + ["task_missing"]
    assert [entry.letters[0].body for entry in entries[:4]] == bodies
    assert operator.redrive_all() == [RedriveOutcome.DELETED] * 5
    assert operator.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_redrive_retries_the_task_and_deletes_its_dead_letters(operator: Operator) -> None:
    task = operator.put(failed())
    operator.add_letters(task.task_id, task.task_id)
    operator.clock.advance(timedelta(days=2))
    [entry] = operator.entries()
    assert len(entry.letters) == 2
    assert operator.redrive_all() == [RedriveOutcome.RETRIED]
    row = operator.row(task)
    assert (row.status, row.attempt, row.crashes) == (Status.PENDING, 5, 0)
    assert row.deadline_at == operator.clock.now + POLICY.deadline
    assert operator.cloud.messages() == {"queue": 1, "dead letters": 0}


def test_other_messages_stay_in_the_queue(operator: Operator) -> None:
    operator.add_letters(operator.put(failed(1)).task_id, operator.put(failed(2)).task_id)
    dead_letters = operator.dead_letters()
    with dead_letters.entries(limit=10) as entries:
        dead_letters.redrive(entries[0])
    assert [entry.diagnosis.code for entry in operator.entries()] == ["storage_failed"]
    assert operator.dead_letter_queue().backlog().visible == 1


def test_the_dead_letter_of_an_open_task_stays_if_the_queue_fails(operator: Operator) -> None:
    """It may be the last message of the task."""
    operator.add_letters(operator.put(new_task(task_id(1))).task_id)
    failing_client = FailingClient(operator.cloud.sqs, before={"send_message"})
    with pytest.raises(AwsError):
        operator.redrive_all(operator.dead_letters(sqs=failing_client))
    assert operator.cloud.messages() == {"queue": 0, "dead letters": 1}


def test_a_task_that_its_client_retried_has_a_message_left(operator: Operator) -> None:
    task = operator.put(failed())
    operator.add_letters(task.task_id)
    dead_letters = operator.dead_letters()
    with dead_letters.entries(limit=10) as [entry]:
        operator.table().retry(task.task_id, policy=POLICY, now=operator.clock.now)
        operator.clock.advance(timedelta(seconds=1))
        assert dead_letters.redrive(entry) is RedriveOutcome.SENT
    assert operator.cloud.messages() == {"queue": 1, "dead letters": 0}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["update_item", "send_message", "delete_message"])
def test_an_interrupted_redrive_loses_no_task(operator: Operator, call: str, moment: str) -> None:
    task = operator.put(failed())
    operator.add_letters(task.task_id)
    client = operator.cloud.dynamodb if call == "update_item" else operator.cloud.sqs
    failing_client = FailingClient(client, **{moment: {call}})
    parts = {"dynamodb" if call == "update_item" else "sqs": failing_client}
    with pytest.raises(AwsError):
        operator.redrive_all(operator.dead_letters(**parts))

    row = operator.row(task)
    visible_to_the_reconciler = row.status is Status.PENDING and row.check_at is not None
    in_the_dead_letter_queue = operator.dead_letter_queue().backlog().visible == 1
    assert visible_to_the_reconciler or (in_the_dead_letter_queue and row.status is Status.FAILED)

    operator.clock.advance(timedelta(seconds=1))
    operator.redrive_all()
    assert operator.row(task).status is Status.PENDING
    assert operator.cloud.messages()["dead letters"] == 0


def test_an_error_while_making_messages_visible_is_reported(operator: Operator) -> None:
    operator.add_letters(operator.put(failed()).task_id)
    failing_client = FailingClient(operator.cloud.sqs, before={"change_message_visibility_batch"})
    with (
        pytest.raises(QueueUnavailable),
        operator.dead_letters(sqs=failing_client).entries(limit=10) as entries,
    ):
        assert len(entries) == 1
