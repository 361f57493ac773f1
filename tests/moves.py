"""Makes any move of the state machine through the task table."""

from dataclasses import replace
from typing import Any

from services.common.errors import AttemptsExhausted
from services.common.task import Move, Task
from services.common.task_table import TaskTable
from tests.tasks import FAILURE, LEASE, LIMITS, NOW, POLICY, RESULT

CLAIM: dict[str, Any] = {"lease_owner": "me", "attempt": 1}
"""The claim with which the moves of a worker are made."""
EXHAUSTED = AttemptsExhausted("No attempts remain.")


def make_move(table: TaskTable, move: Move, task: Task) -> None:
    """Raises ``TransitionRefused`` or ``LeaseLost`` if the row does not allow the move."""
    claim = replace(task, **CLAIM)
    match move:
        case Move.CLAIM:
            table.claim(task.task_id, lease_owner="new", lease_until=NOW + LEASE, now=NOW)
        case Move.TAKE_OVER:
            table.take_over(
                task.task_id,
                lease_owner="new",
                lease_until=NOW + LEASE,
                now=NOW,
                limits=LIMITS,
            )
        case Move.EXTEND:
            table.extend(claim, lease_until=NOW + LEASE, now=NOW)
        case Move.RELEASE:
            table.release(claim, now=NOW)
        case Move.COMPLETE:
            table.complete(claim, replace(RESULT, key="another"), now=NOW)
        case Move.FAIL:
            table.fail(claim, FAILURE, now=NOW)
        case Move.GIVE_UP:
            table.give_up(task.task_id, EXHAUSTED, now=NOW, limits=LIMITS)
        case Move.CANCEL:
            table.cancel(task.task_id, now=NOW)
        case Move.RETRY:
            table.retry(task.task_id, policy=POLICY, now=NOW)
