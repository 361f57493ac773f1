"""The task as a pure state machine: no clock, no randomness, no AWS.

Clients see a row's *status*. Its *phase* adds the two facts that decide what may happen next:
whether a failure will be retried, and whether the lease is still valid::

    PENDING ──claim──▶ RUNNING ──complete──▶ COMPLETED
     ▲   ▲              │ │ ▲ └───fail─────▶ FAILED (willRetry) ──claim──▶ RUNNING
     │   └───release────┘ │ └─take over (lease expired)
     │                  cancel           FAILED ◀─give up─ PENDING, FAILED (willRetry),
   retry                  ▼                 │              RUNNING with an expired lease
     └────────────── CANCELED ◀─────────────┘ (retry starts from FAILED and CANCELED)

``TRANSITIONS`` is the only definition of the legal moves. `task_table` derives the conditions of
its writes from it, so no process can make any other move.

`attempt` is the fencing token and nothing else: it also counts attempts that a worker gave back. A
task fails when one of its other counters reaches its limit (``FailureLimits``), or at its deadline.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from services.common.errors import (
    AttemptError,
    AttemptsExhausted,
    DeadlinePassed,
    FailureCounter,
    SourceError,
)

OPEN_SHARDS = 64
"""Partitions of the index of open tasks, enough that none of them gets hot."""
SHORT_WAIT = timedelta(minutes=5)
"""Up to this long, a task's message waits hidden in the queue. For longer waits the message is
deleted and the row is due when the wait ends: hidden messages count toward the queue's limit of
120,000 messages in flight ("Amazon SQS message quotas", Amazon SQS Developer Guide)."""


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

    DUE = "nextAttemptAt <= now < deadlineAt"
    TAKEOVER_ALLOWED = "expiredLeases < limit and now < deadlineAt"
    NO_ATTEMPT_ALLOWED = "now >= deadlineAt, or RUNNING and expiredLeases >= limit"
    CLAIM_HOLDS = "attempt and leaseOwner are those of the claim"


class Move(Enum):
    CLAIM = "claim"
    TAKE_OVER = "take over"
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
    Move.CLAIM: Transition(
        frozenset({Phase.PENDING, Phase.RETRYING}), Status.RUNNING, Requirement.DUE
    ),
    # A worker claims the task of a worker that disappeared, which also counts an expired lease.
    Move.TAKE_OVER: Transition(
        frozenset({Phase.ABANDONED}), Status.RUNNING, Requirement.TAKEOVER_ALLOWED
    ),
    # The worker that holds the claim. Its claim survives the lease until another worker claims the
    # task.
    Move.EXTEND: Transition(_RUNNING, Status.RUNNING, Requirement.CLAIM_HOLDS),
    Move.RELEASE: Transition(_RUNNING, Status.PENDING, Requirement.CLAIM_HOLDS),
    Move.COMPLETE: Transition(_RUNNING, Status.COMPLETED, Requirement.CLAIM_HOLDS),
    Move.FAIL: Transition(_RUNNING, Status.FAILED, Requirement.CLAIM_HOLDS),
    # A worker or the reconciler, when no further attempt is allowed.
    Move.GIVE_UP: Transition(_CLAIMABLE, Status.FAILED, Requirement.NO_ATTEMPT_ALLOWED),
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
    lease_owner: str | None = None
    lease_until: datetime | None = None
    source_failures: int = 0
    """How many attempts failed by the fault of the image's server."""
    crashes: int = 0
    """How many attempts failed because the imaging process died or got too little CPU."""
    expired_leases: int = 0
    """How many leases expired before their worker finished or released the task."""
    other_failures: int = 0
    """How many attempts failed by another fault of ours. Only the deadline limits them."""

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
    """When the reconciler sends an unsent task, ends it at its deadline, or may find that its
    message was lost."""
    checked_by: str | None = None
    """Which reconciler sent the task last. It recognizes its write if the response is lost."""

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

    def allows(self, move: Move, now: datetime, *, limits: "FailureLimits") -> bool:
        """Whether `move` is legal now, regardless of who holds the claim."""
        transition = TRANSITIONS[move]
        if self.phase(now) not in transition.sources:
            return False
        match transition.requires:
            case Requirement.DUE:
                return not self.is_early(now) and self.exhaustion(now, limits) is None
            case Requirement.TAKEOVER_ALLOWED:
                return self.exhaustion(now, limits) is None
            case Requirement.NO_ATTEMPT_ALLOWED:
                return self.exhaustion(now, limits) is not None
            case _:
                return True

    def is_early(self, now: datetime) -> bool:
        """Whether the next attempt must still wait."""
        return self.next_attempt_at is not None and now < self.next_attempt_at

    def exhaustion(self, now: datetime, limits: "FailureLimits") -> AttemptError | None:
        """Why no further attempt is allowed, or None if one is."""
        if now >= self.deadline_at:
            return DeadlinePassed("The task did not finish before its deadline.")
        if self.status is Status.RUNNING and self.expired_leases >= limits.expired_leases:
            return AttemptsExhausted(
                f"{self.expired_leases + 1} attempts ended without a result or a failure."
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLimits:
    """How many failures of each kind end a task."""

    source_failures: int
    crashes: int
    expired_leases: int
    """How many times a task is taken over from a worker that disappeared."""

    def is_reached(self, counter: FailureCounter, count: int) -> bool:
        match counter:
            case FailureCounter.SOURCE_FAILURES:
                return count >= self.source_failures
            case FailureCounter.CRASHES:
                return count >= self.crashes
            case FailureCounter.OTHER_FAILURES:
                return False


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

    deadline: timedelta
    first_check: timedelta
    retention: timedelta

    def first_check_at(self, queued_at: datetime) -> datetime:
        return queued_at + min(self.first_check, self.deadline)


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
        created_at=now,
        queued_at=now,
        updated_at=now,
        deadline_at=deadline_at,
        expires_at=deadline_at + policy.retention,
        open_shard=shard_of(task_id, OPEN_SHARDS),
        check_at=now if unsent else policy.first_check_at(now),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff, of which the second half is jittered.

    The first half is a floor: a task's retries are spread over a known minimum of time. The second
    half spreads the retries of many tasks ("equal jitter" in Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015).
    """

    base: timedelta
    cap: timedelta

    def delay(self, failures: int, jitter: float) -> timedelta:
        """Half of base · 2^(failures - 1), or of `cap` if that is less, plus up to the other half.

        `jitter` is uniform in [0, 1).
        """
        # The bound on the exponent prevents an overflow of timedelta. `cap` is reached long before.
        ceiling = min(self.cap, self.base * float(2 ** min(failures - 1, 16)))
        return timedelta(milliseconds=round(ceiling / timedelta(milliseconds=2) * (1 + jitter)))


@dataclass(frozen=True, slots=True)
class Wait:
    """When the next attempt may start, and whether the message waits for it in the queue."""

    until: datetime
    in_queue: bool

    @classmethod
    def of(cls, until: datetime, *, now: datetime) -> "Wait":
        return cls(until, in_queue=until - now <= SHORT_WAIT)


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of a failed attempt. `wait` is None if no further attempt follows.

    `count` is the new value of `counter`.
    """

    code: str
    reason: str
    counter: FailureCounter
    count: int
    wait: Wait | None = None


def failure_of(
    task: Task,
    error: AttemptError,
    *,
    limits: FailureLimits,
    backoff: Backoff,
    jitter: float,
    now: datetime,
) -> Failure:
    """Decide if a failed attempt is retried: if that may help, and neither limit nor deadline ends
    the task.

    A source that says when to come back is not asked earlier.
    """
    count = getattr(task, error.counter) + 1
    delay = backoff.delay(count, jitter)
    if isinstance(error, SourceError) and error.retry_after_s is not None:
        remaining_s = (task.deadline_at - now).total_seconds()
        asked_s = min(error.retry_after_s, remaining_s)  # a server may ask for thousands of years
        delay = max(delay, timedelta(milliseconds=math.ceil(asked_s * 1000)))
    wait = None
    if error.retryable and not limits.is_reached(error.counter, count):
        until = now + delay
        wait = Wait.of(until, now=now) if until < task.deadline_at else None
    return Failure(error.code, str(error), error.counter, count, wait)
