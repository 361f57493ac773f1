"""Looking at dead letters takes nothing away; a redrive may break off anywhere."""

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
    NOT_OURS,
    DeadLetterGroup,
    DeadLetterQueue,
    DeadLetters,
    Redrive,
)
from tests.conftest import Clock, Cloud
from tests.tasks import POLICY, task_in

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient


def task_id(number: int) -> str:
    return str(UUID(int=number, version=4))


@dataclass
class Interrupted:
    """A client on which a call fails, just before or after it takes effect."""

    client: object
    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            if name in self.before:
                raise ReadTimeoutError(endpoint_url="https://aws")
            answer = getattr(self.client, name)(**arguments)
            if name in self.after:
                raise ReadTimeoutError(endpoint_url="https://aws")
            return answer

        return call


class Desk:
    """An operator's desk, over clients that may be interrupted."""

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

    def bury(self, *task_ids: str) -> None:
        """Put letters into the dead-letter queue."""
        for each in task_ids:
            self.dead_queue().send(each, request_id="r")

    def dead_queue(self) -> TaskQueue:
        return TaskQueue(self.cloud.sqs, url=self.cloud.resources.dead_letter_queue_url)

    def cases(self) -> list[DeadLetterGroup]:
        with self.dead_letters().cases(limit=1_000) as cases:
            return list(cases)

    def redrive_all(self, dead_letters: DeadLetters | None = None) -> list[Redrive]:
        dead_letters = dead_letters or self.dead_letters()
        with dead_letters.cases(limit=1_000) as cases:
            return [dead_letters.redrive(case) for case in cases]

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
def desk(cloud: Cloud, clock: Clock) -> Desk:
    return Desk(cloud, clock)


def failed(number: int = 1, code: str = "storage_failed") -> Task:
    return task_in(
        Phase.FAILED,
        task_id=task_id(number),
        attempt=5,
        failure_code=code,
        failure_reason="The result could not be stored.",
        finished_at=None,
    )


def test_looking_at_letters_hides_and_loses_none(desk: Desk) -> None:
    tasks = [desk.put(failed(number)) for number in range(25)]
    desk.bury(*(task.task_id for task in tasks))
    for _ in range(2):
        assert {case.task_id for case in desk.cases()} == {task.task_id for task in tasks}
    assert desk.dead_queue().backlog().visible == 25


def test_letters_are_hidden_from_others_while_somebody_looks(desk: Desk) -> None:
    desk.bury(desk.put(failed()).task_id)
    with desk.dead_letters().cases(limit=10) as mine, desk.dead_letters().cases(limit=10) as others:
        assert (len(mine), len(others)) == (1, 0)


def test_no_more_letters_are_held_than_asked_for(desk: Desk) -> None:
    desk.bury(*(desk.put(failed(number)).task_id for number in range(15)))
    with desk.dead_letters().cases(limit=12) as cases:
        assert len(cases) == 12
        assert desk.dead_queue().backlog().visible == 3


def test_letters_are_shown_again_when_looking_fails(desk: Desk) -> None:
    desk.bury(desk.put(failed()).task_id)
    unreachable = Interrupted(desk.cloud.dynamodb, before={"get_item"})
    with pytest.raises(AwsError), desk.dead_letters(dynamodb=unreachable).cases(limit=10):
        pass
    assert desk.dead_queue().backlog().visible == 1


def test_a_letter_says_why_it_is_there_and_what_to_do(desk: Desk) -> None:
    task = desk.put(failed(code="imaging_crashed"))
    desk.bury(task.task_id)
    [case] = desk.cases()
    assert case.task == task
    assert case.diagnosis.code == "imaging_crashed"
    assert case.diagnosis.sentence == task.failure_reason
    assert "memory" in case.diagnosis.advice


def test_every_fault_of_ours_has_its_advice() -> None:
    ours = {
        cls.code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, AttemptError) and cls.fault is Fault.OURS
    }
    assert set(ADVICE) == ours


def test_a_fault_of_others_is_said_to_be_theirs(desk: Desk) -> None:
    desk.bury(desk.put(failed(code="source_not_found")).task_id)
    [case] = desk.cases()
    assert case.diagnosis.advice == NOT_OURS


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
def test_a_letter_whose_task_has_moved_on_is_explained_and_only_deleted(
    desk: Desk, phase: Phase, code: str
) -> None:
    task = desk.put(task_in(phase))
    desk.bury(task.task_id)
    [case] = desk.cases()
    assert case.diagnosis.code == code
    assert desk.redrive_all() == [Redrive.DELETED]
    assert desk.row(task) == task
    assert desk.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_messages_that_name_no_task_are_listed_too(desk: Desk) -> None:
    bodies = ["hello", "{}", '{"taskId": "", "requestId": ""}', "[" * 100_000]
    for body in bodies:
        desk.cloud.sqs.send_message(
            QueueUrl=desk.cloud.resources.dead_letter_queue_url, MessageBody=body
        )
    desk.bury(task_id(9))
    cases = desk.cases()
    assert [case.diagnosis.code for case in cases] == ["unreadable"] * 4 + ["task_missing"]
    assert [case.letters[0].body for case in cases[:4]] == bodies
    assert desk.redrive_all() == [Redrive.DELETED] * 5
    assert desk.cloud.messages() == {"queue": 0, "dead letters": 0}


def test_a_redrive_gives_a_task_new_attempts_a_message_and_takes_its_letters(desk: Desk) -> None:
    task = desk.put(failed())
    desk.bury(task.task_id, task.task_id)
    desk.clock.advance(timedelta(days=2))
    [case] = desk.cases()
    assert len(case.letters) == 2
    assert desk.redrive_all() == [Redrive.RETRIED]
    row = desk.row(task)
    assert (row.status, row.attempt, row.attempt_limit) == (Status.PENDING, 5, 10)
    assert row.deadline_at == desk.clock.now + POLICY.deadline
    assert desk.cloud.messages() == {"queue": 1, "dead letters": 0}


def test_what_is_not_redriven_stays(desk: Desk) -> None:
    desk.bury(desk.put(failed(1)).task_id, desk.put(failed(2)).task_id)
    dead_letters = desk.dead_letters()
    with dead_letters.cases(limit=10) as cases:
        dead_letters.redrive(cases[0])
    assert [case.diagnosis.code for case in desk.cases()] == ["storage_failed"]
    assert desk.dead_queue().backlog().visible == 1


def test_a_task_that_its_client_retried_meanwhile_is_not_sent_again(desk: Desk) -> None:
    task = desk.put(failed())
    desk.bury(task.task_id)
    dead_letters = desk.dead_letters()
    with dead_letters.cases(limit=10) as [case]:
        desk.table().retry(task.task_id, policy=POLICY, now=desk.clock.now)
        desk.clock.advance(timedelta(seconds=1))
        assert dead_letters.redrive(case) is Redrive.DELETED
    assert desk.cloud.messages() == {"queue": 0, "dead letters": 0}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["update_item", "send_message", "delete_message"])
def test_a_redrive_may_break_off_anywhere(desk: Desk, call: str, moment: str) -> None:
    task = desk.put(failed())
    desk.bury(task.task_id)
    client = desk.cloud.dynamodb if call == "update_item" else desk.cloud.sqs
    breaking = Interrupted(client, **{moment: {call}})
    parts = {"dynamodb" if call == "update_item" else "sqs": breaking}
    with pytest.raises(AwsError):
        desk.redrive_all(desk.dead_letters(**parts))

    row = desk.row(task)
    open_to_the_reconciler = row.status is Status.PENDING and row.check_at is not None
    kept_as_a_letter = desk.dead_queue().backlog().visible == 1
    assert open_to_the_reconciler or (kept_as_a_letter and row.status is Status.FAILED)

    desk.clock.advance(timedelta(seconds=1))
    desk.redrive_all()
    assert desk.row(task).status is Status.PENDING
    assert desk.cloud.messages()["dead letters"] == 0


def test_letters_that_cannot_be_shown_again_are_said_to_be(desk: Desk) -> None:
    desk.bury(desk.put(failed()).task_id)
    deaf = Interrupted(desk.cloud.sqs, before={"change_message_visibility_batch"})
    with pytest.raises(QueueUnavailable), desk.dead_letters(sqs=deaf).cases(limit=10) as cases:
        assert len(cases) == 1
