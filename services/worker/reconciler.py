"""The reconciler: finds tasks that are still owed something, and has them sent again or failed.

The sparse index nominates, a conditional write on the row decides. Any number of reconcilers may
run at once; each look at a task is won by one of them.
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
    """When a task's own message must have been seen, and how deep a backlog may become."""

    lease: timedelta
    longest_backoff: timedelta
    max_backlog: int


@dataclass(slots=True)
class ReconcileReport:
    """What one run did."""

    checked: int = 0
    resent: int = 0
    given_up: int = 0
    unsent: int = 0
    """Owed a message that the queue did not take."""
    held_back: int = 0
    """Owed a message, but the queue has a deep backlog, where it most likely is, or is not to be
    asked."""
    overdue: int = 0
    """Open past the deadline, under a lease that still holds."""


class Reconciler:
    """`name` is one that no other reconciler has, now or earlier.

    `shuffle` makes runs that were cut short begin elsewhere the next time.
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
        """Look once at every task that is due.

        Raises ``AwsError`` when AWS fails us; what is done is done, and the next run goes on. A
        queue that fails stops only the sending: deadlines hold without it.
        """
        report = ReconcileReport()
        try:
            # Read on every run: a queue that nobody asks sends no metrics, so no alarm would see.
            backlog = self._queue.backlog()
            dead_letters = self._dead_letters.backlog()
        except QueueUnavailable:
            self._look_at_all(report, sends_left=0)
            raise
        self._look_at_all(report, sends_left=self._policy.max_backlog - backlog.visible)
        if report.unsent:
            raise QueueUnavailable(f"A message could not be sent; {report}")
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

    def _look_at_all(self, report: ReconcileReport, *, sends_left: int) -> None:
        shards = list(range(OPEN_SHARDS))
        self._shuffle(shards)
        for shard in shards:
            for task_id in self._table.due_task_ids(shard, self._clock()):
                task = self._table.get(task_id)
                if task is not None:
                    may_send = report.resent < sends_left and not report.unsent
                    self._look_at(task, report, may_send=may_send)

    def _look_at(self, task: Task, report: ReconcileReport, *, may_send: bool) -> None:
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
        due_at = self._message_due_at(task, phase)
        if now < due_at:
            check_at = min(due_at, _over_at(task))
            self._schedule_check(task, check_at, task.check_gap or timedelta())
        elif may_send:
            self._send_again(task, now, report)
        else:
            report.held_back += 1

    def _message_due_at(self, task: Task, phase: Phase) -> datetime:
        """From when on the task's own message is missing, if nothing has happened."""
        match phase:
            case Phase.RETRYING:
                return task.updated_at + self._policy.longest_backoff
            case Phase.LEASED | Phase.ABANDONED if task.lease_until is not None:
                # The message shows itself again about when the lease ends; give it as long again.
                return task.lease_until + self._policy.lease
            case _:
                return task.check_at or task.created_at

    def _send_again(self, task: Task, now: datetime, report: ReconcileReport) -> None:
        check_at, gap = next_check(task, now)
        if not self._schedule_check(task, check_at, gap):
            return  # another reconciler was first, or the task has moved on
        try:
            self._queue.send(task.task_id, request_id=task.request_id)
        except QueueUnavailable:
            log.exception("task not sent again", task_id=task.task_id)
            report.unsent += 1
            # Let the next run look again.
            moved = replace(task, check_at=check_at)
            self._schedule_check(moved, task.check_at or check_at, task.check_gap or timedelta())
            return
        report.resent += 1
        log.warning(
            "task sent again",
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
            return  # a worker was faster
        report.given_up += 1
        log.error(
            "task given up",
            task_id=task.task_id,
            request_id=task.request_id,
            failure_code=error.code,
            metrics={Metric.TASKS_FAILED: 1},
            dimensions={"FailureCode": error.code},
        )


def _over_at(task: Task) -> datetime:
    """From when on the task may be failed for its deadline: not under a lease that holds."""
    return max(task.deadline_at, task.lease_until or task.deadline_at)
