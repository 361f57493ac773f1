"""The task table. Every write is one conditional write.

The conditions of moves are derived from ``task.TRANSITIONS``. When the response to a write is lost,
boto3 sends the write again, and its condition fails because of its own effect. Moves and scheduled
checks therefore recognize their own effect in the row and report success.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from services.common.aws import wrap_errors
from services.common.errors import AttemptError, LeaseLost, TableUnavailable, TaskfleetError
from services.common.task import (
    OPEN_SHARDS,
    TRANSITIONS,
    Failure,
    Move,
    Phase,
    Requirement,
    Result,
    Status,
    SubmissionPolicy,
    Task,
    shard_of,
)
from services.common.task_record import from_item, to_attribute, to_item, to_rfc3339

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

OPEN_TASKS_INDEX = "OpenTasks"
"""A sparse index: only open tasks have its key attributes, `openShard` and `checkAt`."""

# ── Every phase and every requirement as a condition on the row ───────────────────────────────
# One line for each rule of task.py. A test compares them with `Task.phase` and `Task.allows`.

_lease_expired = "leaseUntil <= :now"
_will_retry = "willRetry = :true"

PHASE_CONDITIONS: Mapping[Phase, str] = {
    Phase.PENDING: "#status = :PENDING",
    Phase.LEASED: f"(#status = :RUNNING AND NOT {_lease_expired})",
    Phase.ABANDONED: f"(#status = :RUNNING AND {_lease_expired})",
    Phase.RETRYING: f"(#status = :FAILED AND {_will_retry})",
    Phase.FAILED: f"(#status = :FAILED AND NOT {_will_retry})",
    Phase.COMPLETED: "#status = :COMPLETED",
    Phase.CANCELED: "#status = :CANCELED",
}

_attempts_remain = "attempt < attemptLimit"
_time_remains = "deadlineAt > :nowText"
_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"

REQUIREMENT_CONDITIONS: Mapping[Requirement, str] = {
    Requirement.ATTEMPTS_AND_TIME_REMAIN: f"{_attempts_remain} AND {_time_remains}",
    Requirement.ATTEMPTS_OR_TIME_EXHAUSTED: f"(NOT {_attempts_remain} OR NOT {_time_remains})",
    Requirement.CLAIM_HOLDS: _claim_holds,
}


def condition_of(move: Move) -> str:
    """The condition expression under which the table accepts `move`."""
    transition = TRANSITIONS[move]
    sources = " OR ".join(PHASE_CONDITIONS[phase] for phase in sorted(transition.sources))
    if transition.requires is None:
        return f"({sources})"
    return f"({sources}) AND {REQUIREMENT_CONDITIONS[transition.requires]}"


class TransitionRefused(TaskfleetError):
    """The row does not allow the move. `task` is the current row, or None if there is none."""

    def __init__(self, move: Move, task: Task | None) -> None:
        state = "there is no such task" if task is None else f"the task is {task.status}"
        super().__init__(f"Cannot {move.value}: {state}.")
        self.task = task


_LEASE = "leaseOwner, leaseUntil"
_WAIT = "unsent, nextAttemptAt"
_COUNTERS = "sourceFailures, crashes, expiredLeases"
_OPEN_INDEX = "openShard, checkAt, checkGapS, checkedBy"
"""Removing them takes the row out of the index of open tasks."""


class TaskTable:
    """Reads and writes tasks. Every method raises ``TableUnavailable``.

    `retention` is how long a row is kept after its task has ended.
    """

    def __init__(self, client: "DynamoDBClient", *, table: str, retention: timedelta) -> None:
        self._client = client
        self._table = table
        self._retention = retention

    # ── Reads ─────────────────────────────────────────────────────────────────────────────────

    def get(self, task_id: str) -> Task | None:
        """The current row, by a consistent read."""
        with wrap_errors(TableUnavailable):
            response = self._client.get_item(
                TableName=self._table, Key=_key(task_id), ConsistentRead=True
            )
        return from_item(response["Item"]) if "Item" in response else None

    def due_task_ids(self, shard: int, now: datetime) -> Iterator[str]:
        """Ids of tasks in one shard of the index whose `checkAt` has passed, oldest first.

        The index is eventually consistent. Read the row before acting on it.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=OPEN_TASKS_INDEX,
            KeyConditionExpression="openShard = :shard AND checkAt <= :now",
            ExpressionAttributeValues={
                ":shard": to_attribute("open_shard", shard),
                ":now": to_attribute("check_at", now),
            },
        )
        with wrap_errors(TableUnavailable):
            for page in pages:
                for item in page["Items"]:
                    yield item["taskId"]["S"]

    # ── The API's writes ──────────────────────────────────────────────────────────────────────

    def create(self, task: Task) -> Task:
        """Write a new row, and return the row that now has its id.

        That is `task` itself, or the earlier submission that it repeats.
        """
        try:
            with wrap_errors(TableUnavailable):
                self._client.put_item(
                    TableName=self._table,
                    Item=to_item(task),
                    ConditionExpression="attribute_not_exists(taskId)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as condition_failed:
            return from_item(_current_item(condition_failed))
        return task

    def record_unsent(self, task: Task, *, now: datetime) -> bool:
        """Record that a PENDING task has no message, so that the reconciler's next run sends one.

        Returns False if a worker has claimed the task or it has ended, which needs no message.
        """
        try:
            with wrap_errors(TableUnavailable):
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(task.task_id),
                    UpdateExpression="SET unsent = :true, checkAt = :now",
                    ConditionExpression="#status = :PENDING AND attempt = :attempt",
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues={
                        ":true": to_attribute("unsent", True),  # noqa: FBT003 - a value
                        ":now": to_attribute("check_at", now),
                        ":PENDING": to_attribute("status", Status.PENDING),
                        ":attempt": to_attribute("attempt", task.attempt),
                    },
                )
        except ClientError:
            return False
        return True

    def cancel(self, task_id: str, *, now: datetime) -> Task:
        """Cancel the task. Canceling it again is not an error."""
        return self._move(
            Move.CANCEL,
            task_id,
            now=now,
            sets="finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}, willRetry, failureCode, failureReason",
            values={":expiresAt": to_attribute("expires_at", now + self._retention)},
            applied=lambda row: row.status is Status.CANCELED,
        )

    def retry(
        self, task_id: str, *, policy: SubmissionPolicy, now: datetime, unsent: bool = False
    ) -> Task:
        """Give a finished task a new deadline and more attempts. `attempt` is not reset.

        `unsent` leaves the message to the reconciler.
        """
        deadline_at = now + policy.deadline
        check_at = now if unsent else min(now + policy.first_check, deadline_at)
        return self._move(
            Move.RETRY,
            task_id,
            now=now,
            sets="attemptLimit = attempt + :attempts, deadlineAt = :deadlineAt, "
            "expiresAt = :expiresAt, openShard = :openShard, checkAt = :checkAt, "
            "checkGapS = :checkGapS, queuedAt = :nowText" + (", unsent = :true" if unsent else ""),
            removes=f"nextAttemptAt, {_COUNTERS}, willRetry, failureCode, failureReason, "
            "finishedAt" + ("" if unsent else ", unsent"),
            values={
                ":attempts": to_attribute("attempt_limit", policy.attempt_limit),
                ":deadlineAt": to_attribute("deadline_at", deadline_at),
                ":expiresAt": to_attribute("expires_at", deadline_at + policy.retention),
                ":openShard": to_attribute("open_shard", shard_of(task_id, OPEN_SHARDS)),
                ":checkAt": to_attribute("check_at", check_at),
                ":checkGapS": to_attribute("check_gap", policy.first_check),
            },
            # The status does not show it, because a worker may already have claimed the task.
            applied=lambda row: row.deadline_at == deadline_at and row.created_at < now,
        )

    # ── The worker's writes ───────────────────────────────────────────────────────────────────

    def claim(
        self, task_id: str, *, lease_owner: str, lease_until: datetime, now: datetime
    ) -> Task:
        """Claim the task for one attempt. `lease_owner` must be random and unique.

        Raises ``TransitionRefused`` with the current row.
        """
        return self._move(
            Move.CLAIM,
            task_id,
            now=now,
            sets="attempt = attempt + :one, leaseOwner = :leaseOwner, leaseUntil = :leaseUntil, "
            "startedAt = if_not_exists(startedAt, :nowText)",
            removes=f"{_WAIT}, willRetry, failureCode, failureReason",
            values={
                ":one": {"N": "1"},
                ":leaseOwner": to_attribute("lease_owner", lease_owner),
                ":leaseUntil": to_attribute("lease_until", lease_until),
            },
            applied=lambda row: row.lease_owner == lease_owner,
        )

    def extend(self, claim: Task, *, lease_until: datetime, now: datetime) -> None:
        """Extend the lease. Raises ``LeaseLost`` if the claim no longer holds."""
        self._move_as_holder(
            Move.EXTEND,
            claim,
            now=now,
            sets="leaseUntil = :leaseUntil",
            values={":leaseUntil": to_attribute("lease_until", lease_until)},
        )

    def release(self, claim: Task, *, now: datetime) -> None:
        """End the lease and the claim, so that another worker can claim the task at once."""
        self._move_as_holder(
            Move.RELEASE,
            claim,
            now=now,
            sets="leaseUntil = :now",
            removes="leaseOwner",
            applied=lambda row: (
                row.status is Status.RUNNING
                and row.attempt == claim.attempt
                and row.lease_owner is None
            ),
        )

    def complete(self, claim: Task, result: Result, *, now: datetime) -> None:
        """Store the winning result. Raises ``LeaseLost`` if the claim no longer holds."""
        self._move_as_holder(
            Move.COMPLETE,
            claim,
            now=now,
            sets="#result = :result, finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_LEASE}, {_OPEN_INDEX}",
            values={
                ":result": to_attribute("result", result),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
            },
            applied=lambda row: row.status is Status.COMPLETED and row.result == result,
        )

    def fail(self, claim: Task, failure: Failure, *, now: datetime) -> None:
        """Record why the attempt failed. Raises ``LeaseLost`` if the claim no longer holds."""
        values = {
            ":failureCode": to_attribute("failure_code", failure.code),
            ":failureReason": to_attribute("failure_reason", failure.reason),
        }
        if failure.retry_in is not None:
            sets, removes = ", willRetry = :true", _LEASE
        else:
            sets = ", finishedAt = :nowText, expiresAt = :expiresAt"
            removes = f"{_LEASE}, {_OPEN_INDEX}"
            values[":expiresAt"] = to_attribute("expires_at", now + self._retention)
        self._move_as_holder(
            Move.FAIL,
            claim,
            now=now,
            sets=f"failureCode = :failureCode, failureReason = :failureReason{sets}",
            removes=removes,
            values=values,
            applied=lambda row: (
                row.status is Status.FAILED
                and row.attempt == claim.attempt
                and row.failure_code == failure.code
            ),
        )

    # ── The reconciler's writes ───────────────────────────────────────────────────────────────

    def give_up(self, task_id: str, error: AttemptError, *, now: datetime) -> Task:
        """Fail a task that is allowed no further attempt."""
        return self._move(
            Move.GIVE_UP,
            task_id,
            now=now,
            sets="failureCode = :failureCode, failureReason = :failureReason, "
            "finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}, willRetry",
            values={
                ":failureCode": to_attribute("failure_code", error.code),
                ":failureReason": to_attribute("failure_reason", str(error)),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
            },
            applied=lambda row: (
                row.status is Status.FAILED
                and row.failure_code == error.code
                and row.updated_at == now
            ),
        )

    def schedule_check(
        self, task: Task, *, check_at: datetime, gap: timedelta, checked_by: str
    ) -> bool:
        """Set when the reconciler checks an open task next.

        Returns False if the row's `checkAt` has changed since `task` was read, for example because
        another reconciler was faster. `checked_by` must be unique to the caller.
        """
        try:
            with wrap_errors(TableUnavailable):
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(task.task_id),
                    UpdateExpression="SET checkAt = :checkAt, checkGapS = :checkGapS, "
                    "checkedBy = :checkedBy",
                    ConditionExpression="checkAt = :seen",
                    ExpressionAttributeValues={
                        ":checkAt": to_attribute("check_at", check_at),
                        ":checkGapS": to_attribute("check_gap", gap),
                        ":checkedBy": to_attribute("checked_by", checked_by),
                        ":seen": to_attribute("check_at", task.check_at),
                    },
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as condition_failed:
            item = _current_item(condition_failed)
            row = from_item(item) if item else None
            return row is not None and (row.check_at, row.checked_by) == (check_at, checked_by)
        return True

    # ── One conditional write ─────────────────────────────────────────────────────────────────

    def _move(
        self,
        move: Move,
        task_id: str,
        *,
        now: datetime,
        sets: str,
        removes: str = "",
        values: Mapping[str, Any],
        applied: Callable[[Task], bool],
    ) -> Task:
        """Make `move` if the row allows it, and return the new row.

        `applied` recognizes the effect of this move in a row that no longer allows it.
        """
        update = f"SET #status = :target, updatedAt = :nowText, {sets}"
        if removes:
            update += f" REMOVE {removes}"
        condition = condition_of(move)
        expressions = f"{update} {condition}"
        candidates = {
            **{f":{status}": to_attribute("status", status) for status in Status},
            ":target": to_attribute("status", TRANSITIONS[move].target),
            ":true": {"BOOL": True},
            ":now": to_attribute("lease_until", now),
            ":nowText": {"S": to_rfc3339(now)},
            **values,
        }
        try:
            with wrap_errors(TableUnavailable):
                response = self._client.update_item(
                    TableName=self._table,
                    Key=_key(task_id),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=_only_used(_RESERVED_NAMES, expressions),
                    ExpressionAttributeValues=_only_used(candidates, expressions),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as condition_failed:
            item = _current_item(condition_failed)
            row = from_item(item) if item else None
            if row is not None and applied(row):
                return row
            raise TransitionRefused(move, row) from condition_failed
        return from_item(response["Attributes"])

    def _move_as_holder(
        self,
        move: Move,
        claim: Task,
        *,
        now: datetime,
        sets: str,
        removes: str = "",
        values: Mapping[str, Any] | None = None,
        applied: Callable[[Task], bool] = lambda _: False,
    ) -> None:
        fence = {
            ":attempt": to_attribute("attempt", claim.attempt),
            ":leaseOwner": to_attribute("lease_owner", claim.lease_owner),
        }
        try:
            self._move(
                move,
                claim.task_id,
                now=now,
                sets=sets,
                removes=removes,
                values={**fence, **(values or {})},
                applied=applied,
            )
        except TransitionRefused as refused:
            raise LeaseLost(str(refused)) from refused


_RESERVED_NAMES = {"#status": "status", "#result": "result"}


def _only_used(substitutions: Mapping[str, Any], expressions: str) -> dict[str, Any]:
    """The substitutions that occur in `expressions`. DynamoDB rejects a request with others."""
    used = set(re.findall(r"[:#]\w+", expressions))
    return {token: value for token, value in substitutions.items() if token in used}


def _current_item(condition_failed: ClientError) -> Mapping[str, Any]:
    """The item returned by ``ReturnValuesOnConditionCheckFailure``, empty if there is none."""
    response: Mapping[str, Any] = condition_failed.response
    item: Mapping[str, Any] = response.get("Item", {})
    return item


def _key(task_id: str) -> dict[str, Any]:
    return {"taskId": {"S": task_id}}
