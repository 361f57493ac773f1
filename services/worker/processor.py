"""Processing one message: claim → fetch → image → store → complete → delete.

The row is always written before the message is settled. If the worker crashes in between, the
message is redelivered, and the row says what remains to be done.
"""

import hashlib
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import structlog

from services.common.errors import (
    AttemptError,
    AwsError,
    BucketUnavailable,
    Fault,
    InternalError,
    LeaseLost,
    StorageFailed,
    fault_of,
)
from services.common.result_bucket import ResultBucket, result_key
from services.common.task import Backoff, Failure, Phase, Result, Task, failure_of
from services.common.task_queue import Message, TaskQueue
from services.common.task_table import TaskTable, TransitionRefused
from services.common.telemetry import Metric
from services.worker.imaging import ResultImage
from services.worker.lease import Lease, LeaseKeeper

log = structlog.get_logger()


class Fetcher(Protocol):
    def fetch(self, url: str, *, into: BinaryIO, timeout_s: float) -> int: ...


class Imaging(Protocol):
    def process(
        self,
        source: Path,
        recipe: Mapping[str, Any],
        *,
        timeout_s: float,
    ) -> ResultImage: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPolicy:
    """The time budget of an attempt, and the backoff after a failed one."""

    budget: timedelta
    backoff: Backoff


class Processor:
    """Thread-safe. `jitter` returns a number in [0, 1), and `new_lease_owner` a unique name."""

    def __init__(
        self,
        *,
        table: TaskTable,
        queue: TaskQueue,
        bucket: ResultBucket,
        fetcher: Fetcher,
        imaging: Imaging,
        leases: LeaseKeeper,
        policy: AttemptPolicy,
        scratch: Path,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        new_lease_owner: Callable[[], str],
    ) -> None:
        self._table = table
        self._queue = queue
        self._bucket = bucket
        self._fetcher = fetcher
        self._imaging = imaging
        self._leases = leases
        self._policy = policy
        self._scratch = scratch
        self._clock = clock
        self._jitter = jitter
        self._new_lease_owner = new_lease_owner

    def process(self, message: Message) -> None:
        """Make one attempt at the message's task, and settle the message.

        Raises ``AwsError`` when the row or the message cannot be reached. The message is then
        redelivered.
        """
        if message.task_id is None:
            log.error("message malformed", message_id=message.message_id)
            self._dead_letter(message)
            return
        with structlog.contextvars.bound_contextvars(
            task_id=message.task_id, request_id=message.request_id
        ):
            try:
                claim = self._claim(message.task_id)
            except TransitionRefused as refused:
                self._settle(message, refused.task)
                return
            with structlog.contextvars.bound_contextvars(attempt=claim.attempt):
                self._attempt(claim, message)

    # ── One attempt ───────────────────────────────────────────────────────────────────────────

    def _claim(self, task_id: str) -> Task:
        claim = self._table.claim(
            task_id,
            lease_owner=self._new_lease_owner(),
            lease_until=self._leases.next_expiry(),
            now=self._clock(),
        )
        waited_ms = (claim.updated_at - claim.queued_at) / timedelta(milliseconds=1)
        first = {Metric.FIRST_CLAIM_WAIT: waited_ms} if claim.attempt == 1 else {}
        log.info("task claimed", attempt=claim.attempt, metrics=first)
        return claim

    def _attempt(self, claim: Task, message: Message) -> None:
        try:
            with self._leases.hold(claim, message) as lease:
                failure = self._run(claim, lease)
        except LeaseLost as lost:
            log.warning("attempt discarded", reason=str(lost))
            return
        if failure is None:
            self._queue.delete(message)
        elif failure.retry_in is not None:
            self._queue.change_visibility(message, timeout_s=failure.retry_in.total_seconds())
        else:
            self._settle_failed(message, failure.code)

    def _run(self, claim: Task, lease: Lease) -> Failure | None:
        """Run the stages and write the outcome to the row. Return None if it is COMPLETED."""
        budget = _Budget(self._policy.budget)
        try:
            result = self._run_stages(claim, lease, budget)
        except AttemptError as error:
            return self._fail(claim, lease, error)
        except (LeaseLost, AwsError):
            raise
        except Exception as bug:  # noqa: BLE001 - the outermost place that can fail the task
            internal = InternalError("Taskfleet encountered an unexpected error and logged it.")
            internal.__cause__ = bug
            return self._fail(claim, lease, internal)
        lease.finishing = True
        self._table.complete(claim, result, now=self._clock())
        total_ms = budget.elapsed_ms()
        log.info(
            "task completed",
            stage="total",
            duration_ms=total_ms,
            metrics={Metric.TASKS_COMPLETED: 1, Metric.STAGE_DURATION: total_ms},
            dimensions={"Stage": "total"},
        )
        return None

    def _run_stages(self, claim: Task, lease: Lease, budget: "_Budget") -> Result:
        with tempfile.NamedTemporaryFile(dir=self._scratch) as source:
            with _stage("fetch"), Path(source.name).open("wb") as into:
                self._fetcher.fetch(
                    claim.input_image_url, into=into, timeout_s=budget.remaining_s()
                )
            lease.check()
            with _stage("image"):
                image = self._imaging.process(
                    Path(source.name),
                    claim.recipe,
                    timeout_s=budget.remaining_s(),
                )
        lease.check()
        with _stage("store"):
            key = result_key(claim, image.content_type)
            try:
                self._bucket.put(key, image.body, content_type=image.content_type)
            except BucketUnavailable as unavailable:
                raise StorageFailed("The result could not be stored.") from unavailable
        return Result(
            key=key,
            content_type=image.content_type,
            size_bytes=len(image.body),
            width=image.width,
            height=image.height,
            sha256=hashlib.sha256(image.body).hexdigest(),
            warnings=image.warnings,
        )

    def _fail(self, claim: Task, lease: Lease, error: AttemptError) -> Failure:
        now = self._clock()
        failure = failure_of(
            claim, error, backoff=self._policy.backoff, jitter=self._jitter(), now=now
        )
        lease.finishing = True
        self._table.fail(claim, failure, now=now)
        metrics = {Metric.ATTEMPTS_FAILED: 1}
        if failure.retry_in is None:
            metrics[Metric.TASKS_FAILED] = 1
        log.log(
            logging.ERROR if error.fault is Fault.OURS else logging.WARNING,
            "attempt failed",
            failure_code=failure.code,
            failure_reason=failure.reason,
            will_retry=failure.retry_in is not None,
            exc_info=error,
            metrics=metrics,
            dimensions={"FailureCode": failure.code},
        )
        return failure

    # ── A message whose task cannot be claimed ────────────────────────────────────────────────

    def _settle(self, message: Message, task: Task | None) -> None:
        """Settle a redelivered message by its row. Repeating this is harmless."""
        if task is None:
            log.error("message for an unknown task")
            self._dead_letter(message)
            return
        now = self._clock()
        match task.phase(now):
            case Phase.COMPLETED | Phase.CANCELED:
                self._queue.delete(message)
            case Phase.FAILED:
                self._settle_failed(message, task.failure_code or "")
            case Phase.LEASED if task.lease_until is not None:
                remaining_s = (task.lease_until - now).total_seconds()
                self._queue.change_visibility(message, timeout_s=math.ceil(remaining_s))
            case _:
                self._give_up(message, task)

    def _give_up(self, message: Message, task: Task) -> None:
        now = self._clock()
        error = task.exhaustion(now)
        if error is None:  # the task has become claimable since the claim was refused
            self._queue.change_visibility(message, timeout_s=0)
            return
        try:
            self._table.give_up(task.task_id, error, now=now)
        except TransitionRefused as refused:
            self._settle(message, refused.task)
            return
        log.error(
            "task given up",
            failure_code=error.code,
            metrics={Metric.TASKS_FAILED: 1},
            dimensions={"FailureCode": error.code},
        )
        self._settle_failed(message, error.code)

    def _settle_failed(self, message: Message, failure_code: str) -> None:
        """Only our own faults become dead letters, which alert an operator."""
        if fault_of(failure_code) is Fault.OURS:
            self._dead_letter(message)
        else:
            self._queue.delete(message)

    def _dead_letter(self, message: Message) -> None:
        # Showing it again uses up its remaining receives within seconds. Then the redrive policy
        # moves it.
        self._queue.change_visibility(message, timeout_s=0)


class _Budget:
    """The time budget of one attempt, on the monotonic clock."""

    def __init__(self, total: timedelta) -> None:
        self._total_s = total.total_seconds()
        self._started = time.monotonic()

    def remaining_s(self) -> float:
        return max(0.0, self._total_s - (time.monotonic() - self._started))

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self._started) * 1000, 1)


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Log how long the stage took. A stage that raises is logged with its error instead."""
    started = time.monotonic()
    yield
    duration_ms = round((time.monotonic() - started) * 1000, 1)
    log.info(
        "stage finished",
        stage=name,
        duration_ms=duration_ms,
        metrics={Metric.STAGE_DURATION: duration_ms},
        dimensions={"Stage": name},
    )
