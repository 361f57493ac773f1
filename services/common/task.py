"""The task as a pure state machine: no clock, no randomness, no AWS.

Clients see a row's *status*. Its *phase* adds the two facts that decide what may happen next:
whether a failure will be retried, and whether the lease is still valid::

    PENDING ──claim──▶ RUNNING ──complete──▶ COMPLETED
       ▲                │  ▲ └────fail─────▶ FAILED (willRetry) ──claim──▶ RUNNING
       │                │  └─claim (lease expired)
       │              cancel             FAILED ◀─give up─ PENDING, FAILED (willRetry),
     retry              ▼                   │              RUNNING with an expired lease
       └──────────── CANCELED ◀─────────────┘ (retry starts from FAILED and CANCELED)

``TRANSITIONS`` is the only definition of the legal moves. `task_table` derives the conditions of
its writes from it, so no process can make any other move.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from services.common.errors import AttemptError, AttemptsExhausted, DeadlinePassed

OPEN_SHARDS = 64
"""Partitions of the index of open tasks, enough that none of them gets hot."""
CHECK_GAP_FACTOR = 4
"""The gap between two checks of an open task by the reconciler grows by this factor each time."""


class Status(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class Phase(StrEnum):
    """The status, refined by the facts that decide which moves are legal."""

    PENDING = "PENDING"
    LEASED = "LEASED"
    """RUNNING, with a valid lease."""
    ABANDONED = "ABANDONED"
    """RUNNING, with an expired lease."""
    RETRYING = "RETRYING"
    """FAILED, with another attempt to follow."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    """FAILED, and final."""
    CANCELED = "CANCELED"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})
"""The final statuses, except that a FAILED task with `will_retry` is not final."""

_CLAIMABLE = frozenset({Phase.PENDING, Phase.RETRYING, Phase.ABANDONED})
_RUNNING = frozenset({Phase.LEASED, Phase.ABANDONED})


class Requirement(Enum):
    """What a move requires in addition to its source phase."""

    ATTEMPTS_AND_TIME_REMAIN = "attempt < attemptLimit and now < deadlineAt"
    ATTEMPTS_OR_TIME_EXHAUSTED = "attempt >= attemptLimit or now >= deadlineAt"
    CLAIM_HOLDS = "attempt and leaseOwner are those of the claim"


class Move(Enum):
    CLAIM = "claim"
    EXTEND = "extend"
    RELEASE = "release"
    COMPLETE = "complete"
    FAIL = "fail"
    GIVE_UP = "give up"
    CANCEL = "cancel"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Transition:
    sources: frozenset[Phase]
    target: Status
    requires: Requirement | None = None


TRANSITIONS: Mapping[Move, Transition] = {
    # A worker claims the task, which increments `attempt`, the fencing token.
    Move.CLAIM: Transition(_CLAIMABLE, Status.RUNNING, Requirement.ATTEMPTS_AND_TIME_REMAIN),
    # The worker that holds the claim. Its claim survives the lease until another worker claims the
    # task.
    Move.EXTEND: Transition(_RUNNING, Status.RUNNING, Requirement.CLAIM_HOLDS),
    Move.RELEASE: Transition(_RUNNING, Status.RUNNING, Requirement.CLAIM_HOLDS),
    Move.COMPLETE: Transition(_RUNNING, Status.COMPLETED, Requirement.CLAIM_HOLDS),
    Move.FAIL: Transition(_RUNNING, Status.FAILED, Requirement.CLAIM_HOLDS),
    # A worker or the reconciler, when no further attempt is allowed.
    Move.GIVE_UP: Transition(_CLAIMABLE, Status.FAILED, Requirement.ATTEMPTS_OR_TIME_EXHAUSTED),
    # The API, for a client.
    Move.CANCEL: Transition(_CLAIMABLE | {Phase.LEASED}, Status.CANCELED),
    Move.RETRY: Transition(
        frozenset({Phase.FAILED, Phase.RETRYING, Phase.CANCELED}), Status.PENDING
    ),
}


@dataclass(frozen=True, slots=True)
class Result:
    """The stored image that the row names."""

    key: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    warnings: Sequence[str] = ()
    """What the image lacks, each in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row. All times are aware, in UTC, in whole milliseconds."""

    task_id: str
    owner: str
    request_hash: str
    request_id: str
    """The X-Request-Id of the submission. The worker's logs contain it, too."""
    input_image_url: str
    operations: Sequence[Mapping[str, Any]]
    output: Mapping[str, Any] | None = None
    page: int = 1
    damaged: str = "refuse"

    status: Status
    will_retry: bool = False
    unsent: bool = False
    """No message is in the queue. The reconciler sends one at `check_at`, whatever the backlog."""
    next_attempt_at: datetime | None = None
    """No attempt starts earlier. None if the next attempt may start at once."""
    attempt: int = 0
    attempt_limit: int
    lease_owner: str | None = None
    lease_until: datetime | None = None
    source_failures: int = 0
    """How many attempts failed by the fault of the image's server."""
    crashes: int = 0
    """How many attempts failed because the imaging process died or got too little CPU."""
    expired_leases: int = 0
    """How many leases expired before their worker finished or released the task."""

    created_at: datetime
    queued_at: datetime
    """When the task was submitted or last retried by its client."""
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime
    expires_at: datetime

    failure_code: str | None = None
    failure_reason: str | None = None
    result: Result | None = None

    open_shard: int | None = None
    check_at: datetime | None = None
    check_gap: timedelta | None = None
    """The time from the previous check to `check_at`. The next gap is a multiple of it."""
    checked_by: str | None = None
    """Who wrote `check_at` last, so that a writer whose response was lost recognizes its write."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The members of a ``Recipe``."""
        return {
            "operations": list(self.operations),
            "output": self.output,
            "page": self.page,
            "damaged": self.damaged,
        }

    def phase(self, now: datetime) -> Phase:
        if self.status is Status.RUNNING:
            lease_is_valid = self.lease_until is not None and now < self.lease_until
            return Phase.LEASED if lease_is_valid else Phase.ABANDONED
        if self.status is Status.FAILED and self.will_retry:
            return Phase.RETRYING
        return Phase(self.status)

    def is_terminal(self) -> bool:
        return self.status in TERMINAL and not self.will_retry

    def allows(self, move: Move, now: datetime) -> bool:
        """Whether `move` is legal now, regardless of who holds the claim."""
        transition = TRANSITIONS[move]
        if self.phase(now) not in transition.sources:
            return False
        match transition.requires:
            case Requirement.ATTEMPTS_AND_TIME_REMAIN:
                return self.exhaustion(now) is None
            case Requirement.ATTEMPTS_OR_TIME_EXHAUSTED:
                return self.exhaustion(now) is not None
            case _:
                return True

    def exhaustion(self, now: datetime) -> AttemptError | None:
        """Why no further attempt is allowed, or None if one is."""
        if now >= self.deadline_at:
            return DeadlinePassed("The task did not finish before its deadline.")
        if self.attempt >= self.attempt_limit:
            return AttemptsExhausted(
                f"All {self.attempt_limit} attempts ended before a result was stored."
            )
        return None


def task_id_for(owner: str, idempotency_key: str) -> str:
    """The task id for an idempotency key. A repeated submission derives it without a lookup."""
    return str(uuid5(NAMESPACE_URL, f"taskfleet:{owner}\n{idempotency_key}"))


def is_task_id(text: str) -> bool:
    """Whether `text` is a UUID in canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def shard_of(task_id: str, shards: int) -> int:
    """The task's partition: stable, and even over all `shards`."""
    return int.from_bytes(hashlib.blake2b(task_id.encode(), digest_size=4).digest()) % shards


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionPolicy:
    """The limits of a new task."""

    attempt_limit: int
    deadline: timedelta
    first_check: timedelta
    retention: timedelta


def pending_task(
    *,
    task_id: str,
    owner: str,
    request_hash: str,
    request_id: str,
    input_image_url: str,
    operations: Sequence[Mapping[str, Any]],
    output: Mapping[str, Any] | None,
    page: int = 1,
    damaged: str = "refuse",
    policy: SubmissionPolicy,
    now: datetime,
    unsent: bool = False,
) -> Task:
    """The PENDING task for a new submission. `unsent` leaves its message to the reconciler."""
    deadline_at = now + policy.deadline
    return Task(
        task_id=task_id,
        owner=owner,
        request_hash=request_hash,
        request_id=request_id,
        input_image_url=input_image_url,
        operations=operations,
        output=output,
        page=page,
        damaged=damaged,
        status=Status.PENDING,
        unsent=unsent,
        attempt_limit=policy.attempt_limit,
        created_at=now,
        queued_at=now,
        updated_at=now,
        deadline_at=deadline_at,
        expires_at=deadline_at + policy.retention,
        open_shard=shard_of(task_id, OPEN_SHARDS),
        check_at=now if unsent else min(now + policy.first_check, deadline_at),
        check_gap=policy.first_check,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""

    base: timedelta
    cap: timedelta

    def delay(self, attempt: int, jitter: float) -> timedelta:
        """Up to base · 2^(attempt - 1), but at most `cap`. `jitter` is uniform in [0, 1)."""
        # The bound on the exponent prevents an overflow of timedelta. `cap` is reached long before.
        ceiling = min(self.cap, self.base * float(2 ** min(attempt - 1, 16)))
        return ceiling * jitter


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of a failed attempt. `retry_in` is None if it was the last one."""

    code: str
    reason: str
    retry_in: timedelta | None = None


def failure_of(
    task: Task, error: AttemptError, *, backoff: Backoff, jitter: float, now: datetime
) -> Failure:
    """Decide if a failed attempt is retried: if a retry may help, and attempts and time remain."""
    retry_in = backoff.delay(task.attempt, jitter)
    attempts_remain = task.attempt < task.attempt_limit
    time_remains = now + retry_in < task.deadline_at
    if error.retryable and attempts_remain and time_remains:
        return Failure(error.code, str(error), retry_in)
    return Failure(error.code, str(error))


def next_check(task: Task, now: datetime) -> tuple[datetime, timedelta]:
    """When the reconciler checks an open task next, and the gap until then.

    A check before the deadline is followed by one at the deadline at the latest, so that every task
    ends in time.
    """
    gap = (task.check_gap or timedelta()) * CHECK_GAP_FACTOR
    check_at = now + gap
    return (min(check_at, task.deadline_at) if now < task.deadline_at else check_at), gap
