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
    AttemptDeferred,
    AttemptError,
    AwsError,
    BucketUnavailable,
    Fault,
    InternalError,
    LeaseLost,
    RowUnreadable,
    StorageFailed,
    fault_of,
)
from services.common.result_bucket import ResultBucket, result_key
from services.common.task import (
    Backoff,
    Failure,
    FailureLimits,
    Move,
    Phase,
    Result,
    Task,
    Wait,
    failure_of,
)
from services.common.task_queue import Message, TaskQueue
from services.common.task_table import TaskTable, TransitionRefused
from services.common.telemetry import Metric
from services.worker.fetching.fetcher import Writable
from services.worker.imaging import ResultImage
from services.worker.interrupt import Interrupt
from services.worker.lease import Lease, LeaseKeeper
from services.worker.result_memory import ResultMemory

log = structlog.get_logger()

UNREADABLE_WAIT_S = 300
"""How long the message of a row that this version cannot read is hidden. A rollback or a deployment
in progress ends within minutes to hours."""


class Fetcher(Protocol):
    def fetch(self, url: str, *, into: Writable, timeout_s: float) -> int: ...


class Imaging(Protocol):
    def process(
        self,
        source: Path,
        recipe: Mapping[str, Any],
        *,
        timeout_s: float,
        interrupt: Interrupt,
    ) -> ResultImage: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPolicy:
    """The time budget of an attempt, and what follows a failed one."""

    budget: timedelta
    backoff: Backoff
    limits: FailureLimits


class Processor:
    """Thread-safe.

    `delete` deletes a message, soon rather than now. `jitter` returns a number in [0, 1), and
    `new_lease_owner` a unique name.
    """

    def __init__(
        self,
        *,
        table: TaskTable,
        queue: TaskQueue,
        dead_letters: TaskQueue,
        delete: Callable[[Message], None],
        bucket: ResultBucket,
        fetcher: Fetcher,
        imaging: Imaging,
        result_memory: ResultMemory,
        leases: LeaseKeeper,
        policy: AttemptPolicy,
        scratch: Path,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        new_lease_owner: Callable[[], str],
    ) -> None:
        self._table = table
        self._queue = queue
        self._dead_letters = dead_letters
        self._delete = delete
        self._bucket = bucket
        self._fetcher = fetcher
        self._imaging = imaging
        self._result_memory = result_memory
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
            except RowUnreadable:
                # A newer version may have written it, before a rollback or during a deployment.
                log.exception("row unreadable", metrics={Metric.ROWS_UNREADABLE: 1})
                self._queue.change_visibility(message, timeout_s=UNREADABLE_WAIT_S)
                return
            with structlog.contextvars.bound_contextvars(attempt=claim.attempt):
                self._attempt(claim, message)

    # ── One attempt ───────────────────────────────────────────────────────────────────────────

    def _claim(self, task_id: str) -> Task:
        claim = self._claim_or_take_over(task_id)
        waited_ms = (claim.updated_at - claim.queued_at) / timedelta(milliseconds=1)
        first = {Metric.FIRST_CLAIM_WAIT: waited_ms} if claim.attempt == 1 else {}
        log.info("task claimed", attempt=claim.attempt, metrics=first)
        return claim

    def _claim_or_take_over(self, task_id: str) -> Task:
        lease_owner, now = self._new_lease_owner(), self._clock()
        lease_until = self._leases.next_expiry()
        try:
            return self._table.claim(
                task_id, lease_owner=lease_owner, lease_until=lease_until, now=now
            )
        except TransitionRefused as refused:
            limits = self._policy.limits
            if refused.task is None or not refused.task.allows(Move.TAKE_OVER, now, limits=limits):
                raise
        return self._table.take_over(
            task_id, lease_owner=lease_owner, lease_until=lease_until, now=now, limits=limits
        )

    def _attempt(self, claim: Task, message: Message) -> None:
        try:
            with self._leases.hold(claim, message) as lease:
                outcome = self._run(claim, lease)
        except LeaseLost as lost:
            log.warning("attempt discarded", reason=str(lost))
            return
        match outcome:
            case None:
                self._delete(message)
            case Wait() as wait:
                self._wait(message, wait)
            case Failure(wait=Wait() as wait):
                self._wait(message, wait)
            case Failure():
                self._settle_failed(message, outcome.code)

    def _run(self, claim: Task, lease: Lease) -> Failure | Wait | None:
        """Run the stages and write the outcome to the row.

        Return None if the task is COMPLETED, or its wait if the attempt was given back.
        """
        budget = _Budget(self._policy.budget)
        try:
            result = self._run_stages(claim, lease, budget)
        except AttemptError as error:
            return self._fail(claim, lease, error)
        except AttemptDeferred as deferred:
            return self._defer(claim, lease, deferred)
        except (LeaseLost, AwsError):
            raise
        except Exception as bug:  # noqa: BLE001 - the outermost place that can fail the task
            internal = InternalError("Taskfleet encountered an unexpected error and logged it.")
            internal.__cause__ = bug
            return self._fail(claim, lease, internal)
        lease.finishing = True
        try:
            self._table.complete(claim, result, now=self._clock())
        except LeaseLost:
            self._delete_stored(result)
            raise
        total_ms = budget.elapsed_ms()
        log.info(
            "task completed",
            stage="total",
            duration_ms=total_ms,
            metrics={Metric.TASKS_COMPLETED: 1, Metric.STAGE_DURATION: total_ms},
            dimensions={"Stage": "total"},
        )
        return None

    def _delete_stored(self, result: Result) -> None:
        """Delete a result that no row names: the task was canceled, or another attempt won."""
        try:
            self._bucket.delete(result.key)
        except BucketUnavailable:
            log.exception("result not deleted", key=result.key)

    def _run_stages(self, claim: Task, lease: Lease, budget: "_Budget") -> Result:
        with tempfile.NamedTemporaryFile(dir=self._scratch) as source:
            with _stage("fetch"), Path(source.name).open("wb") as file:
                self._fetcher.fetch(
                    claim.input_image_url,
                    into=_FileOfLease(file, lease),
                    timeout_s=budget.remaining_s(),
                )
            lease.check()
            with self._result_memory.reserve() as memory:
                with _stage("image"):
                    image = self._imaging.process(
                        Path(source.name),
                        claim.recipe,
                        timeout_s=budget.remaining_s(),
                        interrupt=lease.interrupt,
                    )
                memory.shrink(len(image.body))
                lease.check()
                return self._store(claim, image)

    def _store(self, claim: Task, image: ResultImage) -> Result:
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
            claim,
            error,
            limits=self._policy.limits,
            backoff=self._policy.backoff,
            jitter=self._jitter(),
            now=now,
        )
        lease.finishing = True
        self._table.fail(claim, failure, now=now)
        metrics = {Metric.ATTEMPTS_FAILED: 1}
        if failure.wait is None:
            metrics[Metric.TASKS_FAILED] = 1
        log.log(
            logging.ERROR if error.fault is Fault.OURS else logging.WARNING,
            "attempt failed",
            failure_code=failure.code,
            failure_reason=failure.reason,
            will_retry=failure.wait is not None,
            exc_info=error,
            metrics=metrics,
            dimensions={"FailureCode": failure.code},
        )
        return failure

    def _defer(self, claim: Task, lease: Lease, deferred: AttemptDeferred) -> Wait:
        now = self._clock()
        wait = Wait.of(now + timedelta(seconds=deferred.retry_after_s), now=now)
        lease.finishing = True
        self._table.release(claim, now=now, wait=wait, reason=deferred)
        log.info(
            "attempt deferred",
            code=deferred.code,
            reason=str(deferred),
            metrics={Metric.ATTEMPTS_DEFERRED: 1},
            dimensions={"Reason": deferred.code},
        )
        return wait

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
                self._delete(message)
            case Phase.FAILED:
                self._settle_failed(message, task.failure_code or "")
            case Phase.LEASED if task.lease_until is not None:
                remaining_s = (task.lease_until - now).total_seconds()
                self._queue.change_visibility(message, timeout_s=math.ceil(remaining_s))
            case Phase.PENDING | Phase.RETRYING if (
                task.next_attempt_at is not None
                and task.is_early(now)
                and task.exhaustion(now, self._policy.limits) is None
            ):
                self._wait(message, Wait(task.next_attempt_at, in_queue=not task.unsent))
            case _:
                self._give_up(message, task)

    def _wait(self, message: Message, wait: Wait) -> None:
        """Hide the message until the next attempt may start, or delete it after a long wait began.

        The row already says that the reconciler must send a new one then.
        """
        if wait.in_queue:
            remaining_s = (wait.until - self._clock()).total_seconds()
            self._queue.change_visibility(message, timeout_s=max(0, math.ceil(remaining_s)))
        else:
            self._delete(message)

    def _give_up(self, message: Message, task: Task) -> None:
        now = self._clock()
        error = task.exhaustion(now, self._policy.limits)
        if error is None:  # the task has become claimable since the claim was refused
            self._queue.change_visibility(message, timeout_s=0)
            return
        try:
            self._table.give_up(task.task_id, error, now=now, limits=self._policy.limits)
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
            self._delete(message)

    def _dead_letter(self, message: Message) -> None:
        """Move the message. If the worker dies in between, there are two, which is harmless."""
        self._dead_letters.send_copy(message)
        self._delete(message)


class _FileOfLease:
    """The file of a download. Writing raises ``LeaseLost`` after the lease has ended."""

    def __init__(self, file: BinaryIO, lease: Lease) -> None:
        self._file = file
        self._lease = lease

    def write(self, chunk: bytes, /) -> int:
        self._lease.check()
        return self._file.write(chunk)


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
