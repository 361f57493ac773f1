"""The reconciler while calls to AWS fail: it loses no task, and deadlines hold."""

from contextlib import suppress

import pytest

from services.common.errors import AwsError
from services.common.task import Phase, Status
from tests.aws_faults.conftest import TRIES
from tests.aws_faults.faults import RESPONSE_LOST, FaultKind, Service
from tests.aws_faults.faulty_system import FaultySystem
from tests.tasks import NOW, POLICY, new_task, task_in

CALLS = {
    "read the backlog": (Service.SQS, "GetQueueAttributes", 1),
    "read the dead-letter backlog": (Service.SQS, "GetQueueAttributes", 2),
    "query the index": (Service.DYNAMODB, "Query", 1),
    "read the row": (Service.DYNAMODB, "BatchGetItem", 1),
    "win the right to send": (Service.DYNAMODB, "UpdateItem", 1),
    "send": (Service.SQS, "SendMessageBatch", 1),
}


def run(system: FaultySystem) -> None:
    """Like ``python -m services.worker reconcile``, which ends after an ``AwsError``."""
    with suppress(AwsError):
        system.reconciler(system.faulty).run()


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("call", CALLS)
def test_a_task_is_resent_and_completed_after_any_call_fails(
    system: FaultySystem, call: str, kind: FaultKind
) -> None:
    task = system.healthy.table.create(new_task())
    system.clock.advance(POLICY.first_check)
    service, operation, invocation = CALLS[call]
    rule = system.inject(kind, service, operation, invocation=invocation)
    run(system)
    assert rule.failed

    system.remove_fault()
    system.reconciler(system.healthy).run()
    if call == "send" and kind in RESPONSE_LOST:
        assert system.count_messages() == TRIES + 1, "each try and the next run send one"
    elif call == "win the right to send" and kind in RESPONSE_LOST:
        assert system.count_messages() == 0, "the next check sends it"
    else:
        assert system.count_messages() == 1
    row = system.finish(task.task_id)
    assert (row.status, row.attempt) == (Status.COMPLETED, 1)
    assert system.count_messages() == 0


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_a_task_is_sent_although_one_response_is_lost(
    system: FaultySystem, kind: FaultKind
) -> None:
    system.healthy.table.create(new_task())
    system.clock.advance(POLICY.first_check)
    system.inject(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    assert system.reconciler(system.faulty).run().resent == 1


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("operation", ["GetQueueAttributes", "SendMessageBatch"])
def test_deadlines_hold_while_the_queue_fails(
    system: FaultySystem, operation: str, kind: FaultKind
) -> None:
    late = task_in(Phase.PENDING, task_id="late", deadline_at=NOW, check_at=NOW)
    system.write(late)
    system.healthy.table.create(new_task(unsent=True, check_at=NOW))
    system.clock.advance(POLICY.first_check)
    system.inject(kind, Service.SQS, operation)
    with pytest.raises(AwsError):
        system.reconciler(system.faulty).run()
    row = system.row("late")
    assert (row.status, row.failure_code) == (Status.FAILED, "deadline_passed")


@pytest.mark.parametrize("kind", FaultKind)
def test_a_task_that_could_not_be_given_up_is_given_up_by_the_next_run(
    system: FaultySystem, kind: FaultKind
) -> None:
    late = task_in(Phase.PENDING, task_id="late", deadline_at=NOW, check_at=NOW)
    system.write(late)
    system.inject(kind, Service.DYNAMODB, "UpdateItem")
    run(system)
    system.remove_fault()
    system.reconciler(system.healthy).run()
    assert system.row("late").status is Status.FAILED
