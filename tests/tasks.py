"""Builds tasks in any state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.common.errors import FailureCounter
from services.common.task import (
    Backoff,
    Failure,
    FailureLimits,
    Phase,
    Result,
    Status,
    SubmissionPolicy,
    Task,
    Wait,
    pending_task,
)
from services.common.task_queue import Envelope

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LEASE = timedelta(seconds=60)
POLICY = SubmissionPolicy(
    deadline=timedelta(hours=24),
    first_check=timedelta(minutes=15),
    retention=timedelta(days=30),
)
LIMITS = FailureLimits(source_failures=12, crashes=5, expired_leases=10)
BACKOFF = Backoff(base=timedelta(seconds=10), cap=timedelta(minutes=15))
FAILURE = Failure("source_not_found", "There is none.", FailureCounter.SOURCE_FAILURES, 1)
"""A final one."""
RETRY_LATER = Failure(
    "source_timeout",
    "It hung.",
    FailureCounter.SOURCE_FAILURES,
    2,
    Wait(NOW + LEASE, in_queue=True),
)
RESULT = Result(
    key="results/t/1.png",
    content_type="image/png",
    size_bytes=123,
    width=4,
    height=3,
    sha256="ab" * 32,
)


def envelope(task_id: str, *, request_id: str = "r", owner: str = "alice") -> Envelope:
    return Envelope(task_id, request_id=request_id, owner=owner)


def new_task(task_id: str = "6e1f7a4e-0000-4000-8000-000000000001", **changes: Any) -> Task:
    task = pending_task(
        task_id=task_id,
        owner="alice",
        request_hash="hash",
        request_id="request-1",
        input_image_url="https://example.com/a.jpg",
        operations=[{"name": "grayscale"}],
        output=None,
        policy=POLICY,
        now=NOW,
    )
    return replace(task, **changes)


def task_in(phase: Phase, *, now: datetime = NOW, **changes: Any) -> Task:
    """A task that is in `phase` at `now`."""
    running: dict[str, Any] = {"status": Status.RUNNING, "attempt": 1, "lease_owner": "me"}
    failed = {"status": Status.FAILED, "attempt": 1, "failure_code": "source_unavailable"}
    final: dict[str, Any] = {"open_shard": None, "check_at": None}
    state: dict[str, Any] = {
        Phase.PENDING: {},
        Phase.LEASED: {**running, "lease_until": now + timedelta(milliseconds=1)},
        Phase.ABANDONED: {**running, "lease_until": now},
        Phase.RETRYING: {**failed, "will_retry": True},
        Phase.FAILED: {**failed, **final},
        Phase.COMPLETED: {"status": Status.COMPLETED, "attempt": 1, "result": RESULT, **final},
        Phase.CANCELED: {"status": Status.CANCELED, **final},
    }[phase]
    return new_task(**{**state, **changes})
