"""The table of tasks: every write is one conditional write, those of moves derived from
``task.TRANSITIONS``.

A write whose answer was lost is sent again by boto3 and then meets its own effect. Each move
therefore says by what its own effect is recognized, and counts it as a success.
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
"""Sparse: only rows that are still owed something carry its key (`openShard`, `checkAt`)."""

# ── What each phase and each requirement reads as a condition on the row ──────────────────────
# One line for each rule of task.py; a test holds every line against `Task.phase` and `Task.allows`.

_lease_expired = "leaseUntil <= :now"
_another_attempt_follows = "willRetry = :true"

PHASE_CONDITIONS: Mapping[Phase, str] = {
    Phase.PENDING: "#status = :PENDING",
    Phase.LEASED: f"(#status = :RUNNING AND NOT {_lease_expired})",
    Phase.ABANDONED: f"(#status = :RUNNING AND {_lease_expired})",
    Phase.RETRYING: f"(#status = :FAILED AND {_another_attempt_follows})",
    Phase.FAILED: f"(#status = :FAILED AND NOT {_another_attempt_follows})",
    Phase.COMPLETED: "#status = :COMPLETED",
    Phase.CANCELED: "#status = :CANCELED",
}

_attempts_left = "attempt < attemptLimit"
_time_left = "deadlineAt > :nowText"
_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"

REQUIREMENT_CONDITIONS: Mapping[Requirement, str] = {
    Requirement.ATTEMPTS_AND_TIME_LEFT: f"{_attempts_left} AND {_time_left}",
    Requirement.ATTEMPTS_OR_TIME_SPENT: f"(NOT {_attempts_left} OR NOT {_time_left})",
    Requirement.CLAIM_HOLDS: _claim_holds,
}


def condition_of(move: Move) -> str:
    """The condition under which the table lets `move` happen."""
    transition = TRANSITIONS[move]
    sources = " OR ".join(PHASE_CONDITIONS[phase] for phase in sorted(transition.sources))
    if transition.requires is None:
        return f"({sources})"
    return f"({sources}) AND {REQUIREMENT_CONDITIONS[transition.requires]}"


class TransitionRefused(TaskfleetError):
    """The row does not allow the move. `task` is the row as it stands, None if there is none."""

    def __init__(self, move: Move, task: Task | None) -> None:
        state = "there is no such task" if task is None else f"the task is {task.status}"
        super().__init__(f"Cannot {move.value}: {state}.")
        self.task = task


_END_LEASE = "leaseOwner, leaseUntil"
_CLOSE = "openShard, checkAt, checkGapS, checkedBy"
"""Leaves the index of open tasks."""


class TaskTable:
    """Every method raises ``TableUnavailable`` when DynamoDB does not answer or refuses to serve.

    `retention` is how long a row is kept after it ended.
    """

    def __init__(self, client: "DynamoDBClient", *, table: str, retention: timedelta) -> None:
        self._client = client
        self._table = table
        self._retention = retention

    # ── Reading ───────────────────────────────────────────────────────────────────────────────

    def get(self, task_id: str) -> Task | None:
        """The row as it stands now: consistent with every write before."""
        with wrap_errors(TableUnavailable):
            answer = self._client.get_item(
                TableName=self._table, Key=_key(task_id), ConsistentRead=True
            )
        return from_item(answer["Item"]) if "Item" in answer else None

    def due_task_ids(self, shard: int, now: datetime) -> Iterator[str]:
        """Ids of tasks in one shard of the sparse index whose `checkAt` has passed, oldest first.

        The index lags behind the rows: it only nominates.
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
        """Write a new row, and return the row that stands under its id.

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
            return from_item(_row_as_it_stands(condition_failed))
        return task

    def cancel(self, task_id: str, *, now: datetime) -> Task:
        """End the task at the client's wish; canceling it again is no error."""
        return self._move(
            Move.CANCEL,
            task_id,
            now=now,
            sets="finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_END_LEASE}, {_CLOSE}, willRetry, failureCode, failureReason",
            values={":expiresAt": to_attribute("expires_at", now + self._retention)},
            achieved=lambda row: row.status is Status.CANCELED,
        )

    def retry(self, task_id: str, *, policy: SubmissionPolicy, now: datetime) -> Task:
        """Give an ended task a new deadline and more attempts; `attempt` counts on."""
        deadline_at = now + policy.deadline
        return self._move(
            Move.RETRY,
            task_id,
            now=now,
            sets="attemptLimit = attempt + :attempts, deadlineAt = :deadlineAt, "
            "expiresAt = :expiresAt, openShard = :openShard, checkAt = :checkAt, "
            "checkGapS = :checkGapS, queuedAt = :nowText",
            removes="willRetry, failureCode, failureReason, finishedAt",
            values={
                ":attempts": to_attribute("attempt_limit", policy.attempt_limit),
                ":deadlineAt": to_attribute("deadline_at", deadline_at),
                ":expiresAt": to_attribute("expires_at", deadline_at + policy.retention),
                ":openShard": to_attribute("open_shard", shard_of(task_id, OPEN_SHARDS)),
                ":checkAt": to_attribute("check_at", min(now + policy.first_check, deadline_at)),
                ":checkGapS": to_attribute("check_gap", policy.first_check),
            },
            # Not by its status: a worker may have claimed the task already.
            achieved=lambda row: row.deadline_at == deadline_at and row.created_at < now,
        )

    # ── The worker's writes ───────────────────────────────────────────────────────────────────

    def claim(
        self, task_id: str, *, lease_owner: str, lease_until: datetime, now: datetime
    ) -> Task:
        """Take the task for one attempt. `lease_owner` is random, never used before.

        Raises ``TransitionRefused`` with the row that says why.
        """
        return self._move(
            Move.CLAIM,
            task_id,
            now=now,
            sets="attempt = attempt + :one, leaseOwner = :leaseOwner, leaseUntil = :leaseUntil, "
            "startedAt = if_not_exists(startedAt, :nowText)",
            removes="willRetry, failureCode, failureReason",
            values={
                ":one": {"N": "1"},
                ":leaseOwner": to_attribute("lease_owner", lease_owner),
                ":leaseUntil": to_attribute("lease_until", lease_until),
            },
            achieved=lambda row: row.lease_owner == lease_owner,
        )

    def extend(self, claim: Task, *, lease_until: datetime, now: datetime) -> None:
        """Prolong the lease; raises ``LeaseLost`` when the claim no longer holds."""
        self._move_as_holder(
            Move.EXTEND,
            claim,
            now=now,
            sets="leaseUntil = :leaseUntil",
            values={":leaseUntil": to_attribute("lease_until", lease_until)},
        )

    def release(self, claim: Task, *, now: datetime) -> None:
        """End the lease so that another worker can claim at once; this claim writes no more."""
        self._move_as_holder(
            Move.RELEASE,
            claim,
            now=now,
            sets="leaseUntil = :now",
            removes="leaseOwner",
            achieved=lambda row: (
                row.status is Status.RUNNING
                and row.attempt == claim.attempt
                and row.lease_owner is None
            ),
        )

    def complete(self, claim: Task, result: Result, *, now: datetime) -> None:
        """Name the winning result; raises ``LeaseLost`` when the claim no longer holds."""
        self._move_as_holder(
            Move.COMPLETE,
            claim,
            now=now,
            sets="#result = :result, finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_END_LEASE}, {_CLOSE}",
            values={
                ":result": to_attribute("result", result),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
            },
            achieved=lambda row: row.status is Status.COMPLETED and row.result == result,
        )

    def fail(self, claim: Task, failure: Failure, *, now: datetime) -> None:
        """Say at once why the attempt failed; raises ``LeaseLost`` when the claim does not hold."""
        values = {
            ":failureCode": to_attribute("failure_code", failure.code),
            ":failureReason": to_attribute("failure_reason", failure.reason),
        }
        if failure.retry_in is not None:
            sets, removes = ", willRetry = :true", _END_LEASE
        else:
            sets = ", finishedAt = :nowText, expiresAt = :expiresAt"
            removes = f"{_END_LEASE}, {_CLOSE}"
            values[":expiresAt"] = to_attribute("expires_at", now + self._retention)
        self._move_as_holder(
            Move.FAIL,
            claim,
            now=now,
            sets=f"failureCode = :failureCode, failureReason = :failureReason{sets}",
            removes=removes,
            values=values,
            achieved=lambda row: (
                row.status is Status.FAILED
                and row.attempt == claim.attempt
                and row.failure_code == failure.code
            ),
        )

    # ── The reconciler's writes ───────────────────────────────────────────────────────────────

    def give_up(self, task_id: str, error: AttemptError, *, now: datetime) -> Task:
        """Fail a task that may have no further attempt."""
        return self._move(
            Move.GIVE_UP,
            task_id,
            now=now,
            sets="failureCode = :failureCode, failureReason = :failureReason, "
            "finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_END_LEASE}, {_CLOSE}, willRetry",
            values={
                ":failureCode": to_attribute("failure_code", error.code),
                ":failureReason": to_attribute("failure_reason", str(error)),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
            },
            achieved=lambda row: (
                row.status is Status.FAILED
                and row.failure_code == error.code
                and row.updated_at == now
            ),
        )

    def schedule_check(
        self, task: Task, *, check_at: datetime, gap: timedelta, checked_by: str
    ) -> bool:
        """Move on when the reconciler looks at an open task next.

        False when the row has moved on since `task` was read, and so whenever another reconciler
        was first. `checked_by` is a name that nobody else has.
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
            item = _row_as_it_stands(condition_failed)
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
        achieved: Callable[[Task], bool],
    ) -> Task:
        """Make `move` if the row allows it, and return the row after it.

        `achieved` recognizes this very move's effect in a row that no longer allows it.
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
                answer = self._client.update_item(
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
            item = _row_as_it_stands(condition_failed)
            row = from_item(item) if item else None
            if row is not None and achieved(row):
                return row
            raise TransitionRefused(move, row) from condition_failed
        return from_item(answer["Attributes"])

    def _move_as_holder(
        self,
        move: Move,
        claim: Task,
        *,
        now: datetime,
        sets: str,
        removes: str = "",
        values: Mapping[str, Any] | None = None,
        achieved: Callable[[Task], bool] = lambda _: False,
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
                achieved=achieved,
            )
        except TransitionRefused as refused:
            raise LeaseLost(str(refused)) from refused


_RESERVED_NAMES = {"#status": "status", "#result": "result"}


def _only_used(substitutions: Mapping[str, Any], expressions: str) -> dict[str, Any]:
    """DynamoDB refuses a substitution that no expression uses."""
    used = set(re.findall(r"[:#]\w+", expressions))
    return {token: value for token, value in substitutions.items() if token in used}


def _row_as_it_stands(condition_failed: ClientError) -> Mapping[str, Any]:
    """The item that ``ReturnValuesOnConditionCheckFailure`` adds; empty when there is none."""
    response: Mapping[str, Any] = condition_failed.response
    item: Mapping[str, Any] = response.get("Item", {})
    return item


def _key(task_id: str) -> dict[str, Any]:
    return {"taskId": {"S": task_id}}
