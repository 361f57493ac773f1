"""The task table. Every write is one conditional write.

The conditions of moves are derived from ``task.TRANSITIONS``. When the response to a write is lost,
boto3 sends the write again, and its condition fails because of its own effect. Moves and the right
to send therefore recognize their own effect in the row and report success.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from services.common.aws import wrap_errors
from services.common.errors import (
    AttemptError,
    LeaseLost,
    RowUnreadable,
    TableUnavailable,
    TaskfleetError,
)
from services.common.task import (
    OPEN_SHARDS,
    TRANSITIONS,
    Failure,
    FailureLimits,
    Move,
    Phase,
    Requirement,
    Result,
    Status,
    SubmissionPolicy,
    Task,
    Wait,
    shard_of,
)
from services.common.task_queue import Envelope
from services.common.task_record import (
    ATTRIBUTES,
    from_epoch,
    from_item,
    from_rfc3339,
    to_attribute,
    to_item,
    to_rfc3339,
)

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

OPEN_TASKS_INDEX = "OpenTaskNeeds"
"""A sparse index: only open tasks have its key attributes, `openShard` and `checkAt`. It also has
`deadlineAt` and `unsent`, which say what a task needs and do not change while all goes well."""
MAX_ROWS_PER_READ = 100
"""The limit of BatchGetItem."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task in the index of open tasks."""

    task_id: str
    check_at: datetime
    deadline_at: datetime


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

_time_remains = "deadlineAt > :nowText"
_takeovers_exhausted = "expiredLeases >= :expiredLeaseLimit"
_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"

REQUIREMENT_CONDITIONS: Mapping[Requirement, str] = {
    Requirement.DUE: f"{_time_remains} AND NOT nextAttemptAt > :now",
    Requirement.TAKEOVER_ALLOWED: f"{_time_remains} AND NOT {_takeovers_exhausted}",
    Requirement.NO_ATTEMPT_ALLOWED: f"(NOT {_time_remains} OR "
    f"(#status = :RUNNING AND {_takeovers_exhausted}))",
    Requirement.CLAIM_HOLDS: _claim_holds,
}


def condition_of(move: Move) -> str:
    """The condition expression under which the table accepts `move`."""
    transition = TRANSITIONS[move]
    phases = [PHASE_CONDITIONS[phase] for phase in sorted(transition.sources)]
    # DynamoDB rejects redundant parentheses.
    sources = phases[0] if len(phases) == 1 else f"({' OR '.join(phases)})"
    if transition.requires is None:
        return sources
    return f"{sources} AND {REQUIREMENT_CONDITIONS[transition.requires]}"


class TransitionRefused(TaskfleetError):
    """The row does not allow the move. `task` is the current row, or None if there is none."""

    def __init__(self, move: Move, task: Task | None) -> None:
        state = "there is no such task" if task is None else f"the task is {task.status}"
        super().__init__(f"Cannot {move.value}: {state}.")
        self.task = task


_LEASE = "leaseOwner, leaseUntil"
_WAIT = "unsent, nextAttemptAt"
_COUNTERS = "sourceFailures, crashes, expiredLeases, otherFailures"
_FAILURE = "willRetry, failureCode, failureReason"
_OPEN_INDEX = "openShard, checkAt, checkedBy"
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

    def get_many(self, task_ids: Sequence[str]) -> Mapping[str, Task | RowUnreadable]:
        """The rows of up to ``MAX_ROWS_PER_READ`` tasks, by an eventually consistent read.

        Rows that do not exist, or that DynamoDB did not read for lack of capacity, are missing.
        """
        with wrap_errors(TableUnavailable):
            response = self._client.batch_get_item(
                RequestItems={self._table: {"Keys": [_key(task_id) for task_id in task_ids]}}
            )
        rows: dict[str, Task | RowUnreadable] = {}
        for item in response["Responses"].get(self._table, ()):
            task_id = item["taskId"]["S"]
            try:
                rows[task_id] = from_item(item)
            except RowUnreadable as unreadable:
                rows[task_id] = unreadable
        return rows

    # ── The index of open tasks, which is eventually consistent ───────────────────────────────

    def overdue_task_ids(self, shard: int, now: datetime) -> Iterator[str]:
        """Ids of the tasks in one shard whose deadline has passed."""
        values = {":nowText": {"S": to_rfc3339(now)}}
        for page in self._query(shard, now, filters="NOT deadlineAt > :nowText", values=values):
            for item in page["Items"]:
                yield item["taskId"]["S"]

    def unsent_tasks(self, shard: int, now: datetime) -> Iterator[OpenTask]:
        """Tasks in one shard that are due to be sent, the one that is due longest first."""
        for page in self._query(shard, now, filters="unsent = :true", values=_TRUE):
            yield from map(_open_task, page["Items"])

    def sent_tasks(self, shard: int, checked_before: datetime) -> Iterator[OpenTask]:
        """Tasks in one shard that should have a message and are due, oldest first."""
        for page in self._query(shard, checked_before, filters="NOT unsent = :true", values=_TRUE):
            yield from map(_open_task, page["Items"])

    def count_sent(self, shard: int, *, checked_before: datetime) -> int:
        """The number of tasks in one shard that should have a message."""
        pages = self._query(
            shard, checked_before, filters="NOT unsent = :true", values=_TRUE, Select="COUNT"
        )
        return sum(page["Count"] for page in pages)

    def _query(
        self,
        shard: int,
        until: datetime,
        *,
        filters: str,
        values: Mapping[str, Any],
        **options: Any,
    ) -> Iterator[Mapping[str, Any]]:
        """Pages of the open tasks in one shard with ``checkAt`` up to `until`, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=OPEN_TASKS_INDEX,
            KeyConditionExpression="openShard = :shard AND checkAt <= :until",
            FilterExpression=filters,
            ExpressionAttributeValues={
                ":shard": to_attribute("open_shard", shard),
                ":until": to_attribute("check_at", until),
                **values,
            },
            **options,
        )
        with wrap_errors(TableUnavailable):
            yield from pages

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
            removes=f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}, {_FAILURE}",
            values={":expiresAt": to_attribute("expires_at", now + self._retention)},
            applied=lambda row: row.status is Status.CANCELED,
        )

    def retry(
        self, task_id: str, *, policy: SubmissionPolicy, now: datetime, unsent: bool = False
    ) -> Task:
        """Give a finished task a new deadline and new counters. `attempt` is not reset.

        `unsent` leaves the message to the reconciler.
        """
        deadline_at = now + policy.deadline
        check_at = now if unsent else policy.first_check_at(now)
        return self._move(
            Move.RETRY,
            task_id,
            now=now,
            sets="deadlineAt = :deadlineAt, "
            "expiresAt = :expiresAt, openShard = :openShard, checkAt = :checkAt, "
            "queuedAt = :nowText" + (", unsent = :true" if unsent else ""),
            removes=f"nextAttemptAt, {_COUNTERS}, {_FAILURE}, finishedAt"
            + ("" if unsent else ", unsent"),
            values={
                ":deadlineAt": to_attribute("deadline_at", deadline_at),
                ":expiresAt": to_attribute("expires_at", deadline_at + policy.retention),
                ":openShard": to_attribute("open_shard", shard_of(task_id, OPEN_SHARDS)),
                ":checkAt": to_attribute("check_at", check_at),
            },
            # The status does not show it, because a worker may already have claimed the task.
            applied=lambda row: row.deadline_at == deadline_at and row.created_at < now,
        )

    # ── The worker's writes ───────────────────────────────────────────────────────────────────

    def claim(
        self, task_id: str, *, lease_owner: str, lease_until: datetime, now: datetime
    ) -> Task:
        """Claim a waiting task for one attempt. `lease_owner` must be random and unique.

        Raises ``TransitionRefused`` with the current row.
        """
        return self._move(
            Move.CLAIM,
            task_id,
            now=now,
            sets=_CLAIM,
            removes=f"{_WAIT}, {_FAILURE}",
            values=_claim_values(lease_owner, lease_until),
            applied=lambda row: row.lease_owner == lease_owner,
        )

    def take_over(
        self,
        task_id: str,
        *,
        lease_owner: str,
        lease_until: datetime,
        now: datetime,
        limits: FailureLimits,
    ) -> Task:
        """Claim the task of a worker whose lease has expired, and count the expired lease.

        Raises ``TransitionRefused`` with the current row.
        """
        return self._move(
            Move.TAKE_OVER,
            task_id,
            now=now,
            sets=f"{_CLAIM}, expiredLeases = if_not_exists(expiredLeases, :zero) + :one",
            removes=f"{_WAIT}, {_FAILURE}",
            values={
                **_claim_values(lease_owner, lease_until),
                ":zero": {"N": "0"},
                ":expiredLeaseLimit": {"N": str(limits.expired_leases)},
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

    def release(
        self,
        claim: Task,
        *,
        now: datetime,
        wait: Wait | None = None,
        reason: TaskfleetError | None = None,
    ) -> None:
        """Give the task back. The attempt counts toward no limit.

        Another worker can claim the task at once, or after `wait`. The row shows the `reason`.
        Raises ``LeaseLost`` if the claim no longer holds.
        """
        sets: list[str] = []
        values: dict[str, Any] = {}
        if reason is not None:
            sets = ["failureCode = :failureCode", "failureReason = :failureReason"]
            values = _failure_values(reason.code, str(reason))
        wait_sets, wait_values = _wait_update(claim, wait)
        self._move_as_holder(
            Move.RELEASE,
            claim,
            now=now,
            sets=", ".join([*sets, *wait_sets]),
            removes=_LEASE,
            values={**values, **wait_values},
            applied=lambda row: (
                row.status is Status.PENDING
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
            removes=f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}",
            values={
                ":result": to_attribute("result", result),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
            },
            applied=lambda row: row.status is Status.COMPLETED and row.result == result,
        )

    def fail(self, claim: Task, failure: Failure, *, now: datetime) -> None:
        """Record why the attempt failed. Raises ``LeaseLost`` if the claim no longer holds."""
        counter = ATTRIBUTES[failure.counter].name
        sets = [
            "failureCode = :failureCode",
            "failureReason = :failureReason",
            f"{counter} = :count",
        ]
        values = {
            **_failure_values(failure.code, failure.reason),
            ":count": to_attribute(failure.counter, failure.count),
        }
        if failure.wait is not None:
            wait_sets, wait_values = _wait_update(claim, failure.wait)
            sets += ["willRetry = :true", *wait_sets]
            values |= wait_values
            removes = _LEASE
        else:
            sets += ["finishedAt = :nowText", "expiresAt = :expiresAt"]
            values[":expiresAt"] = to_attribute("expires_at", now + self._retention)
            removes = f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}"
        self._move_as_holder(
            Move.FAIL,
            claim,
            now=now,
            sets=", ".join(sets),
            removes=removes,
            values=values,
            applied=lambda row: (
                row.status is Status.FAILED
                and row.attempt == claim.attempt
                and row.failure_code == failure.code
            ),
        )

    # ── The reconciler's writes ───────────────────────────────────────────────────────────────

    def give_up(
        self, task_id: str, error: AttemptError, *, now: datetime, limits: FailureLimits
    ) -> Task:
        """Fail a task that is allowed no further attempt."""
        return self._move(
            Move.GIVE_UP,
            task_id,
            now=now,
            sets="failureCode = :failureCode, failureReason = :failureReason, "
            "finishedAt = :nowText, expiresAt = :expiresAt",
            removes=f"{_LEASE}, {_OPEN_INDEX}, {_WAIT}, willRetry",
            values={
                **_failure_values(error.code, str(error)),
                ":expiresAt": to_attribute("expires_at", now + self._retention),
                ":expiredLeaseLimit": {"N": str(limits.expired_leases)},
            },
            applied=lambda row: (
                row.status is Status.FAILED
                and row.failure_code == error.code
                and row.updated_at == now
            ),
        )

    def take_for_sending(
        self, task: OpenTask, *, next_check: datetime, taken_by: str
    ) -> Envelope | None:
        """Win the right to send the message of a task, and move its check to `next_check`.

        Returns None if the row has changed since `task` was read, for example because another
        reconciler was faster. `taken_by` must be unique to the caller.
        """
        try:
            with wrap_errors(TableUnavailable):
                response = self._client.update_item(
                    TableName=self._table,
                    Key=_key(task.task_id),
                    UpdateExpression="SET checkAt = :next, checkedBy = :takenBy REMOVE unsent",
                    ConditionExpression="checkAt = :seen",
                    ExpressionAttributeValues={
                        ":next": to_attribute("check_at", next_check),
                        ":takenBy": to_attribute("checked_by", taken_by),
                        ":seen": to_attribute("check_at", task.check_at),
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as condition_failed:
            item = _current_item(condition_failed)
            taken = {
                "checkAt": to_attribute("check_at", next_check),
                "checkedBy": to_attribute("checked_by", taken_by),
            }
            return _envelope(item) if taken.items() <= item.items() else None
        return _envelope(response["Attributes"])

    def restore_unsent(
        self, task_id: str, *, next_check: datetime, taken_by: str, now: datetime
    ) -> None:
        """Undo ``take_for_sending``: the message was not sent, or its send got no response."""
        with wrap_errors(TableUnavailable), suppress(ClientError):
            self._client.update_item(
                TableName=self._table,
                Key=_key(task_id),
                UpdateExpression="SET unsent = :true, checkAt = :now",
                ConditionExpression="checkAt = :next AND checkedBy = :takenBy "
                "AND NOT #status = :RUNNING",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    **_TRUE,
                    ":now": to_attribute("check_at", now),
                    ":next": to_attribute("check_at", next_check),
                    ":takenBy": to_attribute("checked_by", taken_by),
                    ":RUNNING": to_attribute("status", Status.RUNNING),
                },
            )

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
        update = "SET " + ", ".join(filter(None, ("#status = :target, updatedAt = :nowText", sets)))
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


_CLAIM = (
    "attempt = attempt + :one, leaseOwner = :leaseOwner, leaseUntil = :leaseUntil, "
    "startedAt = if_not_exists(startedAt, :nowText)"
)


def _claim_values(lease_owner: str, lease_until: datetime) -> dict[str, Any]:
    return {
        ":one": {"N": "1"},
        ":leaseOwner": to_attribute("lease_owner", lease_owner),
        ":leaseUntil": to_attribute("lease_until", lease_until),
    }


def _failure_values(code: str, reason: str) -> dict[str, Any]:
    return {
        ":failureCode": to_attribute("failure_code", code),
        ":failureReason": to_attribute("failure_reason", reason),
    }


def _wait_update(claim: Task, wait: Wait | None) -> tuple[list[str], dict[str, Any]]:
    """The assignments and values for a wait. The reconciler sends the message after a long one."""
    if wait is None:
        return [], {}
    sets = ["nextAttemptAt = :nextAttemptAt"]
    values = {":nextAttemptAt": to_attribute("next_attempt_at", wait.until)}
    if not wait.in_queue:
        sets += ["unsent = :true", "checkAt = :checkAt"]
        values[":checkAt"] = to_attribute("check_at", min(wait.until, claim.deadline_at))
    return sets, values


_TRUE: Mapping[str, Any] = {":true": {"BOOL": True}}


def _open_task(item: Mapping[str, Any]) -> OpenTask:
    return OpenTask(
        task_id=item["taskId"]["S"],
        check_at=from_epoch(Decimal(item["checkAt"]["N"])),
        deadline_at=from_rfc3339(item["deadlineAt"]["S"]),
    )


def _envelope(item: Mapping[str, Any]) -> Envelope:
    """Read without the rest of the row, of which this version may not know everything."""
    return Envelope(
        task_id=item["taskId"]["S"], request_id=item["requestId"]["S"], owner=item["owner"]["S"]
    )


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
