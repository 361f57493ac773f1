"""The reconciler: resends missing messages of open tasks, and fails tasks past their limits.

The sparse index lists the tasks that are due. A conditional write on the row decides, so any number
of reconcilers may run at the same time, and only one of them acts on each check of a task.
"""

from collections.abc import Callable, MutableSequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import structlog

from services.common.errors import AttemptError, QueueUnavailable
from services.common.task import OPEN_SHARDS, Phase, Task, next_check
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable, TransitionRefused
from services.common.telemetry import Metric

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePolicy:
    """When a task's message counts as missing, and how deep the backlog may become."""

    lease: timedelta
    max_backoff: timedelta
    max_backlog: int


@dataclass(slots=True)
class ReconcileReport:
    """Numbers of tasks in one run."""

    checked: int = 0
    resent: int = 0
    given_up: int = 0
    unsent: int = 0
    """The queue did not accept the message."""
    held_back: int = 0
    """Not resent, because the backlog is deep and most likely holds the message, or because the
    queue does not respond."""
    overdue: int = 0
    """Open past the deadline, but still leased."""


class Reconciler:
    """`name` must be unique among all reconcilers, past and present.

    `shuffle` changes the order of the shards, so that a run that fails early does not always skip
    the same ones.
    """

    def __init__(
        self,
        *,
        name: str,
        table: TaskTable,
        queue: TaskQueue,
        dead_letters: TaskQueue,
        policy: ReconcilePolicy,
        clock: Callable[[], datetime],
        shuffle: Callable[[MutableSequence[int]], None],
    ) -> None:
        self._name = name
        self._table = table
        self._queue = queue
        self._dead_letters = dead_letters
        self._policy = policy
        self._clock = clock
        self._shuffle = shuffle

    def run(self) -> ReconcileReport:
        """Check every task that is due.

        Raises ``AwsError`` when a call to AWS fails. What the run has done until then stays, and
        the next run does the rest. If only the queue fails, the run still enforces deadlines.
        """
        report = ReconcileReport()
        try:
            # Read on every run, because alarms need the queues' metrics, and SQS publishes them
            # only for active queues ("Available CloudWatch metrics for Amazon SQS", SQS Developer
            # Guide).
            backlog = self._queue.backlog()
            dead_letters = self._dead_letters.backlog()
        except QueueUnavailable:
            self._check_all(report, max_sends=0)
            raise
        self._check_all(report, max_sends=self._policy.max_backlog - backlog.visible)
        if report.unsent:
            raise QueueUnavailable(f"Some messages could not be sent: {report}")
        log.info(
            "reconciled",
            **asdict(report),
            backlog=backlog.visible,
            dead_letters=dead_letters.visible,
            metrics={
                Metric.RECONCILE_RUNS: 1,
                Metric.TASKS_RESENT: report.resent,
                Metric.OPEN_TASKS_OVERDUE: report.overdue,
                Metric.BACKLOG: backlog.visible,
                Metric.DEAD_LETTERS: dead_letters.visible,
            },
        )
        return report

    def _check_all(self, report: ReconcileReport, *, max_sends: int) -> None:
        shards = list(range(OPEN_SHARDS))
        self._shuffle(shards)
        for shard in shards:
            for task_id in self._table.due_task_ids(shard, self._clock()):
                task = self._table.get(task_id)
                if task is not None:
                    may_send = report.resent < max_sends and not report.unsent
                    self._check(task, report, may_send=may_send)

    def _check(self, task: Task, report: ReconcileReport, *, may_send: bool) -> None:
        now = self._clock()
        if task.check_at is None or task.check_at > now:
            return  # the index lags behind the row
        report.checked += 1
        phase = task.phase(now)
        if phase is not Phase.LEASED and (error := task.exhaustion(now)):
            self._give_up(task, error, now, report)
            return
        if phase is Phase.LEASED and now >= task.deadline_at:
            report.overdue += 1
            log.warning("task overdue", task_id=task.task_id, request_id=task.request_id)
        missing_at = self._message_missing_at(task, phase)
        if now < missing_at:
            check_at = min(missing_at, _earliest_expiry(task))
            self._schedule_check(task, check_at, task.check_gap or timedelta())
        elif may_send:
            self._resend(task, now, report)
        else:
            report.held_back += 1

    def _message_missing_at(self, task: Task, phase: Phase) -> datetime:
        """When the task's message counts as missing, unless the row changes before."""
        match phase:
            case Phase.RETRYING:
                return task.updated_at + self._policy.max_backoff
            case Phase.LEASED | Phase.ABANDONED if task.lease_until is not None:
                # The message reappears about when the lease ends. Allow the same time again.
                return task.lease_until + self._policy.lease
            case _:
                return task.check_at or task.created_at

    def _resend(self, task: Task, now: datetime, report: ReconcileReport) -> None:
        check_at, gap = next_check(task, now)
        if not self._schedule_check(task, check_at, gap):
            return  # another reconciler was first, or the row has changed
        try:
            self._queue.send(task.task_id, request_id=task.request_id)
        except QueueUnavailable:
            log.exception("task not resent", task_id=task.task_id)
            report.unsent += 1
            # Move the check back, so that the next run tries again.
            moved = replace(task, check_at=check_at)
            self._schedule_check(moved, task.check_at or check_at, task.check_gap or timedelta())
            return
        report.resent += 1
        log.warning(
            "task resent",
            task_id=task.task_id,
            request_id=task.request_id,
            status=task.status,
        )

    def _schedule_check(self, task: Task, check_at: datetime, gap: timedelta) -> bool:
        return self._table.schedule_check(task, check_at=check_at, gap=gap, checked_by=self._name)

    def _give_up(
        self, task: Task, error: AttemptError, now: datetime, report: ReconcileReport
    ) -> None:
        try:
            self._table.give_up(task.task_id, error, now=now)
        except TransitionRefused:
            return  # a worker was first
        report.given_up += 1
        log.error(
            "task given up",
            task_id=task.task_id,
            request_id=task.request_id,
            failure_code=error.code,
            metrics={Metric.TASKS_FAILED: 1},
            dimensions={"FailureCode": error.code},
        )


def _earliest_expiry(task: Task) -> datetime:
    """When the deadline may fail the task: at the deadline, but not before its lease ends."""
    return max(task.deadline_at, task.lease_until or task.deadline_at)
