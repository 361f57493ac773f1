"""Writes whose responses are lost. They took effect, so the SDK's retry counts as a success."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.common.errors import AttemptsExhausted, LeaseLost, TableUnavailable
from services.common.task import Phase, Status, Task
from services.common.task_table import OpenTask, TaskTable, TransitionRefused
from tests.aws_faults.faults import RESPONSE_LOST, FaultKind, Service
from tests.aws_faults.faulty_system import FaultySystem
from tests.tasks import (
    FAILURE,
    LEASE,
    LIMITS,
    NOW,
    POLICY,
    RESULT,
    RETRY_LATER,
    envelope,
    new_task,
    task_in,
)

LATER = NOW + timedelta(seconds=1)
GAVE_UP = AttemptsExhausted("used up")
Write = Callable[[TaskTable, Task], object]


def claim(table: TaskTable, row: Task) -> Task:
    return table.claim(row.task_id, lease_owner="me", lease_until=LATER + LEASE, now=LATER)


def take_over(table: TaskTable, row: Task) -> Task:
    return table.take_over(
        row.task_id, lease_owner="me", lease_until=LATER + LEASE, now=LATER, limits=LIMITS
    )


def take_for_sending(table: TaskTable, row: Task) -> None:
    assert row.check_at is not None
    due = OpenTask(row.task_id, row.check_at, row.deadline_at)
    assert table.take_for_sending(due, next_check=LATER, taken_by="me")


WRITES: dict[str, tuple[Phase, Write]] = {
    "claim": (Phase.PENDING, claim),
    "take over": (Phase.ABANDONED, take_over),
    "extend": (
        Phase.LEASED,
        lambda table, row: table.extend(row, lease_until=LATER + LEASE, now=LATER),
    ),
    "release": (Phase.LEASED, lambda table, row: table.release(row, now=LATER)),
    "complete": (Phase.LEASED, lambda table, row: table.complete(row, RESULT, now=LATER)),
    "fail": (
        Phase.LEASED,
        lambda table, row: table.fail(row, FAILURE, now=LATER),
    ),
    "fail with a retry": (
        Phase.LEASED,
        lambda table, row: table.fail(row, RETRY_LATER, now=LATER),
    ),
    "give up": (
        Phase.ABANDONED,
        lambda table, row: table.give_up(row.task_id, GAVE_UP, now=LATER, limits=LIMITS),
    ),
    "cancel": (Phase.PENDING, lambda table, row: table.cancel(row.task_id, now=LATER)),
    "retry": (
        Phase.FAILED,
        lambda table, row: table.retry(row.task_id, policy=POLICY, now=LATER),
    ),
    "record unsent": (Phase.PENDING, lambda table, row: table.record_unsent(row, now=LATER)),
    "take for sending": (Phase.PENDING, take_for_sending),
}


@pytest.mark.parametrize("kind", RESPONSE_LOST)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_with_a_lost_response_has_the_same_effect_as_one_without_a_fault(
    system: FaultySystem, name: str, kind: FaultKind
) -> None:
    phase, write = WRITES[name]
    is_last_attempt = name == "give up"
    rows = []
    for task_id in ("without-fault", "with-fault"):
        limit: dict[str, Any] = {"expired_leases": LIMITS.expired_leases} if is_last_attempt else {}
        row = task_in(phase, task_id=task_id, **limit)
        system.write(row)
        if task_id == "with-fault":
            rule = system.inject(kind, Service.DYNAMODB, "UpdateItem", tries=1)
        write(system.faulty.table, row)
        rows.append(system.row(task_id))
    assert len(rule.failed) == 1
    without_fault, with_fault = rows
    assert without_fault == replace(
        with_fault,
        task_id=without_fault.task_id,
        open_shard=without_fault.open_shard,
    )


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_a_submission_with_a_lost_response_recognizes_its_own_row(
    system: FaultySystem, kind: FaultKind
) -> None:
    system.inject(kind, Service.DYNAMODB, "PutItem", tries=1)
    response = system.api().submit(headers={"Idempotency-Key": "k"})
    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response.headers
    assert (system.count_tasks(), system.count_messages()) == (1, 1)


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_a_late_worker_does_not_mistake_the_winners_result_for_its_own(
    system: FaultySystem, kind: FaultKind
) -> None:
    task = system.healthy.table.create(new_task())
    late = system.healthy.table.claim(task.task_id, lease_owner="late", lease_until=NOW, now=NOW)
    winner = take_over(system.healthy.table, task)
    system.healthy.table.complete(winner, RESULT, now=LATER)
    system.inject(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    with pytest.raises(LeaseLost):
        system.faulty.table.complete(late, replace(RESULT, sha256="another"), now=LATER)
    assert system.row(task.task_id).result == RESULT


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_giving_up_a_task_twice_is_refused(system: FaultySystem, kind: FaultKind) -> None:
    row = task_in(Phase.ABANDONED, expired_leases=LIMITS.expired_leases)
    system.write(row)
    system.healthy.table.give_up(row.task_id, GAVE_UP, now=NOW, limits=LIMITS)
    system.inject(kind, Service.DYNAMODB, "UpdateItem", tries=1)
    with pytest.raises(TransitionRefused):
        system.faulty.table.give_up(row.task_id, GAVE_UP, now=LATER, limits=LIMITS)


@pytest.mark.parametrize("kind", RESPONSE_LOST)
def test_a_claim_whose_responses_are_all_lost_costs_one_attempt(
    system: FaultySystem, kind: FaultKind
) -> None:
    """The row is leased, but no worker knows it."""
    task = system.healthy.table.create(new_task())
    system.healthy.queue.send(envelope(task.task_id, request_id="r"))
    message = system.receive()
    system.inject(kind, Service.DYNAMODB, "UpdateItem")
    with pytest.raises(TableUnavailable):
        system.processor(system.faulty).process(message)
    assert system.row(task.task_id).status is Status.RUNNING
    system.clock.advance(LEASE)
    row = system.finish(
        task.task_id,
        show=lambda: system.healthy.queue.change_visibility(message, timeout_s=0),
    )
    assert (row.status, row.attempt) == (Status.COMPLETED, 2)
