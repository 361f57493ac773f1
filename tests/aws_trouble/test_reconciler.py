"""The reconciler while AWS is in trouble: nothing is lost, little is sent twice, deadlines hold."""

from contextlib import suppress

import pytest

from services.common.errors import AwsError
from services.common.task import Phase, Status
from services.common.task_record import to_item
from tests.aws_trouble.conftest import TRIES
from tests.aws_trouble.faults import UNHEARD, Kind, Service
from tests.aws_trouble.world import World
from tests.tasks import NOW, POLICY, new_task, task_in

CALLS = {
    "ask for the backlog": (Service.SQS, "GetQueueAttributes", 1),
    "ask for the dead letters": (Service.SQS, "GetQueueAttributes", 2),
    "query the index": (Service.DYNAMODB, "Query", 1),
    "read the row": (Service.DYNAMODB, "GetItem", 1),
    "move the check": (Service.DYNAMODB, "UpdateItem", 1),
    "send": (Service.SQS, "SendMessage", 1),
}


def run(world: World) -> None:
    """As ``python -m services.worker reconcile`` does it, of which the next run goes on."""
    with suppress(AwsError):
        world.reconciler(world.hurt).run()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("call", CALLS)
def test_whichever_call_fails_the_task_is_sent_and_done_in_the_end(
    world: World, call: str, kind: Kind
) -> None:
    task = world.well.table.create(new_task())
    world.clock.advance(POLICY.first_check)
    service, operation, invocation = CALLS[call]
    trouble = world.let(kind, service, operation, invocation=invocation)
    run(world)
    assert trouble.struck

    world.heal()
    world.reconciler(world.well).run()
    if call == "send" and kind in UNHEARD:
        assert world.messages() == TRIES + 1, "each try had its effect, and the next run's"
    elif call == "move the check" and kind in UNHEARD:
        assert world.messages() == 0, "the next look sends it"
    else:
        assert world.messages() == 1
    row = world.finish(task.task_id)
    assert (row.status, row.attempt) == (Status.COMPLETED, 1)
    assert world.messages() == 0


@pytest.mark.parametrize("kind", UNHEARD)
def test_a_look_whose_answer_was_lost_once_still_sends(world: World, kind: Kind) -> None:
    world.well.table.create(new_task())
    world.clock.advance(POLICY.first_check)
    world.let(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    assert world.reconciler(world.hurt).run().resent == 1


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("operation", ["GetQueueAttributes", "SendMessage"])
def test_deadlines_hold_while_the_queue_is_in_trouble(
    world: World, operation: str, kind: Kind
) -> None:
    late = task_in(Phase.PENDING, task_id="late", deadline_at=NOW, check_at=NOW)
    world.cloud.dynamodb.put_item(TableName=world.cloud.resources.task_table, Item=to_item(late))
    world.well.table.create(new_task())
    world.clock.advance(POLICY.first_check)
    world.let(kind, Service.SQS, operation)
    with pytest.raises(AwsError):
        world.reconciler(world.hurt).run()
    row = world.row("late")
    assert (row.status, row.failure_code) == (Status.FAILED, "deadline_passed")


@pytest.mark.parametrize("kind", Kind)
def test_a_task_that_could_not_be_given_up_is_at_the_next_run(world: World, kind: Kind) -> None:
    late = task_in(Phase.PENDING, task_id="late", deadline_at=NOW, check_at=NOW)
    world.cloud.dynamodb.put_item(TableName=world.cloud.resources.task_table, Item=to_item(late))
    world.let(kind, Service.DYNAMODB, "UpdateItem")
    run(world)
    world.heal()
    world.reconciler(world.well).run()
    assert world.row("late").status is Status.FAILED
