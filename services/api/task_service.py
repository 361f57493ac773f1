"""The use cases of the API: submit, read, cancel and retry tasks of one owner."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.api.http_errors import (
    IdempotencyKeyReused,
    ResultExpired,
    TaskNotFound,
    TaskStateConflict,
)
from services.api.schemas import Submission
from services.common.circuit_breaker import CircuitBreaker
from services.common.errors import QueueUnavailable, TableUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task import (
    Status,
    SubmissionPolicy,
    Task,
    is_task_id,
    pending_task,
    task_id_for,
)
from services.common.task_queue import Envelope, TaskQueue
from services.common.task_table import TaskTable, TransitionRefused
from services.common.telemetry import Metric

log = structlog.get_logger()

NIL_TASK_ID = "00000000-0000-0000-0000-000000000000"
"""Looked up in place of an invalid task id, so that the response takes as long."""
NOT_FOUND_DELAY_S = 0.05
"""How long a "not found" response takes, more than almost any lookup. Otherwise the response time
would reveal that another client has a task with this id, because reading a row takes longer."""


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """A submitted task. `queued` is False if its row was written but its message not sent."""

    task: Task
    queued: bool = True
    replayed: bool = False


class TaskService:
    """Thread-safe. `new_id` returns a unique task id. `send_breaker` is the one of the queue.

    `monotonic` is a clock in seconds, and `sleep` takes seconds.
    """

    def __init__(
        self,
        *,
        table: TaskTable,
        queue: TaskQueue,
        bucket: ResultBucket,
        send_breaker: CircuitBreaker,
        policy: SubmissionPolicy,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._table = table
        self._queue = queue
        self._bucket = bucket
        self._send_breaker = send_breaker
        self._policy = policy
        self._clock = clock
        self._new_id = new_id
        self._monotonic = monotonic
        self._sleep = sleep

    def submit(
        self, owner: str, submission: Submission, *, idempotency_key: str | None, request_id: str
    ) -> SubmitOutcome:
        """Record the task, then queue it.

        If `idempotency_key` was used before, the same submission returns the earlier task, and any
        other submission raises ``IdempotencyKeyReused``.
        """
        stored = submission.model_dump(mode="json", exclude_none=True)
        may_send = self._send_breaker.allows_call()
        task = pending_task(
            task_id=task_id_for(owner, idempotency_key) if idempotency_key else self._new_id(),
            owner=owner,
            request_hash=submission.content_hash(),
            request_id=request_id,
            input_image_url=submission.input_image_url,
            operations=stored["operations"],
            output=stored.get("output"),
            page=submission.page,
            damaged=submission.damaged,
            policy=self._policy,
            now=self._clock(),
            unsent=not may_send,
        )
        row = self._table.create(task)
        if not _is_own_write(row, task):
            if row.request_hash != task.request_hash:
                raise IdempotencyKeyReused("The Idempotency-Key belongs to another submission.")
            if row.status is Status.PENDING and self._is_unchecked(row):
                # The client may repeat the submission because the first one failed after it wrote
                # the row and before it sent the message. Once, the reconciler sends it again.
                self._record_unsent(row)
            return SubmitOutcome(row, replayed=True)
        log.info("task submitted", task_id=row.task_id, metrics={Metric.TASKS_SUBMITTED: 1})
        return SubmitOutcome(row, queued=may_send and self._send(row, request_id=request_id))

    def get(self, owner: str, task_id: str) -> Task:
        """The task. Raises ``TaskNotFound`` for an invalid or unknown id and for another owner."""
        started = self._monotonic()
        task = self._table.get(task_id if is_task_id(task_id) else NIL_TASK_ID)
        if task is None or task.owner != owner:
            self._sleep(max(0.0, started + NOT_FOUND_DELAY_S - self._monotonic()))
            raise TaskNotFound("There is no such task.")
        return task

    def result_url(self, task: Task) -> str | None:
        """A presigned URL of the result, or None if there is no result or it has expired."""
        if task.result is None or self._clock() >= task.expires_at:
            return None
        return self._bucket.presign(task.result.key, content_type=task.result.content_type)

    def result_location(self, owner: str, task_id: str) -> str:
        """As `result_url`, but an error says why there is no result."""
        task = self.get(owner, task_id)
        if task.status is not Status.COMPLETED:
            raise TaskStateConflict(
                f"The task has no result. Its status is {task.status}.", status=task.status
            )
        url = self.result_url(task)
        if url is None:
            raise ResultExpired("The result has expired.")
        return url

    def cancel(self, owner: str, task_id: str) -> Task:
        self.get(owner, task_id)
        try:
            return self._table.cancel(task_id, now=self._clock())
        except TransitionRefused as refused:
            raise _conflict(refused) from refused

    def retry(self, owner: str, task_id: str, *, request_id: str) -> SubmitOutcome:
        self.get(owner, task_id)
        may_send = self._send_breaker.allows_call()
        try:
            task = self._table.retry(
                task_id, policy=self._policy, now=self._clock(), unsent=not may_send
            )
        except TransitionRefused as refused:
            raise _conflict(refused) from refused
        queued = may_send and self._send(task, request_id=request_id)
        return SubmitOutcome(task, queued=queued)

    def _send(self, task: Task, *, request_id: str) -> bool:
        """Queue the task. If that fails, return False and leave it to the reconciler."""
        try:
            self._queue.send(Envelope(task.task_id, request_id=request_id, owner=task.owner))
        except QueueUnavailable as failed:
            self._send_breaker.failed()
            log.warning("task not queued", task_id=task.task_id, reason=str(failed))
            self._record_unsent(task)
            return False
        self._send_breaker.succeeded()
        return True

    def _is_unchecked(self, row: Task) -> bool:
        """Whether neither a repeated submission nor the reconciler has had the row sent again."""
        return row.check_at == self._policy.first_check_at(row.queued_at)

    def _record_unsent(self, task: Task) -> None:
        """Have the reconciler send the task. If this fails, its first check of the task will."""
        try:
            self._table.record_unsent(task, now=self._clock())
        except TableUnavailable as failed:
            log.warning("task not recorded as unsent", task_id=task.task_id, reason=str(failed))


def _is_own_write(row: Task, task: Task) -> bool:
    """Whether this request wrote the row, perhaps with a first write whose response was lost."""
    return row.request_id == task.request_id and row.created_at == task.created_at


def _conflict(refused: TransitionRefused) -> TaskNotFound | TaskStateConflict:
    if refused.task is None:
        return TaskNotFound("There is no such task.")
    return TaskStateConflict(str(refused), status=refused.task.status)
