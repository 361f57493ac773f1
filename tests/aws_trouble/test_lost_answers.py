"""A write that took effect although its answer was lost: the SDK sends it again, and it is ours."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from services.common.errors import AttemptsExhausted, LeaseLost, TableUnavailable
from services.common.task import Failure, Phase, Status, Task
from services.common.task_record import to_item
from services.common.task_table import TaskTable, TransitionRefused
from tests.aws_trouble.faults import UNHEARD, Kind, Service
from tests.aws_trouble.world import World
from tests.tasks import LEASE, NOW, POLICY, RESULT, new_task, task_in

LATER = NOW + timedelta(seconds=1)
GAVE_UP = AttemptsExhausted("used up")
Write = Callable[[TaskTable, Task], object]


def claim(table: TaskTable, row: Task) -> Task:
    return table.claim(row.task_id, lease_owner="me", lease_until=LATER + LEASE, now=LATER)


def schedule_check(table: TaskTable, row: Task) -> None:
    assert table.schedule_check(row, check_at=LATER, gap=LEASE, checked_by="me")


WRITES: dict[str, tuple[Phase, Write]] = {
    "claim": (Phase.PENDING, claim),
    "extend": (
        Phase.LEASED,
        lambda table, row: table.extend(row, lease_until=LATER + LEASE, now=LATER),
    ),
    "release": (Phase.LEASED, lambda table, row: table.release(row, now=LATER)),
    "complete": (Phase.LEASED, lambda table, row: table.complete(row, RESULT, now=LATER)),
    "fail": (
        Phase.LEASED,
        lambda table, row: table.fail(row, Failure("not_an_image", "It is text."), now=LATER),
    ),
    "fail in passing": (
        Phase.LEASED,
        lambda table, row: table.fail(row, Failure("source_timeout", "It hung.", LEASE), now=LATER),
    ),
    "give up": (
        Phase.ABANDONED,
        lambda table, row: table.give_up(row.task_id, GAVE_UP, now=LATER),
    ),
    "cancel": (Phase.PENDING, lambda table, row: table.cancel(row.task_id, now=LATER)),
    "retry": (
        Phase.FAILED,
        lambda table, row: table.retry(row.task_id, policy=POLICY, now=LATER),
    ),
    "schedule check": (Phase.PENDING, schedule_check),
}


@pytest.mark.parametrize("kind", UNHEARD)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_answer_was_lost_succeeds_as_if_it_had_been_heard(
    world: World, name: str, kind: Kind
) -> None:
    phase, write = WRITES[name]
    spent = name == "give up"
    rows = []
    for task_id in ("heard", "unheard"):
        row = task_in(phase, task_id=task_id, attempt=POLICY.attempt_limit if spent else 1)
        world.cloud.dynamodb.put_item(TableName=world.cloud.resources.task_table, Item=to_item(row))
        if task_id == "unheard":
            trouble = world.let(kind, Service.DYNAMODB, "UpdateItem", tries=1)
        write(world.hurt.table, row)
        rows.append(world.row(task_id))
    assert len(trouble.struck) == 1
    heard, unheard = rows
    assert heard == replace(
        unheard,
        task_id="heard",
        open_shard=heard.open_shard,
    )


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_submission_whose_answer_was_lost_finds_its_own_row(world: World, kind: Kind) -> None:
    world.let(kind, Service.DYNAMODB, "PutItem", tries=1)
    answer = world.api().submit(headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert (world.rows(), world.messages()) == (1, 1)


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_late_workers_write_is_not_taken_for_its_own(world: World, kind: Kind) -> None:
    task = world.well.table.create(new_task())
    late = world.well.table.claim(task.task_id, lease_owner="late", lease_until=NOW, now=NOW)
    winner = claim(world.well.table, task)
    world.well.table.complete(winner, RESULT, now=LATER)
    world.let(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    with pytest.raises(LeaseLost):
        world.hurt.table.complete(late, replace(RESULT, sha256="another"), now=LATER)
    assert world.row(task.task_id).result == RESULT


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_second_giver_up_is_not_taken_for_the_first(world: World, kind: Kind) -> None:
    row = task_in(Phase.ABANDONED, attempt=POLICY.attempt_limit)
    world.cloud.dynamodb.put_item(TableName=world.cloud.resources.task_table, Item=to_item(row))
    world.well.table.give_up(row.task_id, GAVE_UP, now=NOW)
    world.let(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    with pytest.raises(TransitionRefused):
        world.hurt.table.give_up(row.task_id, GAVE_UP, now=LATER)


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_claim_that_nobody_heard_of_costs_one_attempt_and_no_more(
    world: World, kind: Kind
) -> None:
    """All answers were lost: the row is leased to a claim that nobody holds."""
    task = world.well.table.create(new_task())
    world.well.queue.send(task.task_id, request_id="r")
    message = world.receive()
    world.let(kind, Service.DYNAMODB, "UpdateItem")
    with pytest.raises(TableUnavailable):
        world.processor(world.hurt).process(message)
    assert world.row(task.task_id).status is Status.RUNNING
    world.clock.advance(LEASE)
    row = world.finish(
        task.task_id,
        show=lambda: world.well.queue.change_visibility(message, timeout_s=0),
    )
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)
