"""The reconciler: ends overdue tasks, sends unsent ones, and replaces messages that were lost.

The sparse index lists the open tasks with the two facts that decide what they need, so tasks that
need nothing are neither read nor written. A conditional write on the row decides before each
message, so any number of reconcilers may run at the same time.

A row does not show that its message was lost. Counting does: if more open tasks should have a
message than the queue has messages, the tasks that have waited longest have most likely lost
theirs. The depth of the queue makes no difference.
"""

from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

import structlog

from services.common.errors import (
    AttemptError,
    DeadlinePassed,
    QueueUnavailable,
    RowUnreadable,
    TableUnavailable,
)
from services.common.task import OPEN_SHARDS, FailureLimits, Phase, Task
from services.common.task_queue import MAX_MESSAGES_PER_CALL, TaskQueue
from services.common.task_table import (
    MAX_ROWS_PER_READ,
    OpenTask,
    TaskTable,
    TransitionRefused,
)
from services.common.telemetry import Metric

log = structlog.get_logger()

SPARE_SUSPECTS = 10
MAX_SUSPECTS_PER_SHARD = 1_000
"""From each shard, a run considers as many tasks as messages are missing, plus spare ones for tasks
whose row explains why no message is visible, but at most this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePolicy:
    """When a task counts as having lost its message, and which limits end it."""

    lease: timedelta
    recheck: timedelta
    """How long after a message was sent it may be found missing."""
    count_lag: timedelta
    """How long the queue may take to count a message. Tasks sent since are not counted either."""
    limits: FailureLimits


@dataclass(slots=True)
class ReconcileReport:
    """Numbers of tasks in one run."""

    queued: int = 0
    """Open tasks that should have a message in the queue."""
    sent: int = 0
    """Known to have no message, and sent."""
    resent: int = 0
    """Presumed to have lost their message, and sent again."""
    given_up: int = 0
    overdue: int = 0
    """Open past the deadline, but still leased."""
    not_sent: int = 0
    """The queue did not accept the message. The next run tries again."""
    unreadable: int = 0
    """Rows that this version cannot read. They are left alone."""
    failed_shards: int = 0
    """Parts of the index that could not be handled because the table did not respond."""

    def add(self, other: "ReconcileReport") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class RunAll(Protocol):
    """Calls `work` with each shard, one after the other or in parallel."""

    def __call__(
        self, work: Callable[[int], ReconcileReport], shards: Iterable[int], /
    ) -> Iterable[ReconcileReport]: ...


class Reconciler:
    """`name` must be unique among all reconcilers, past and present.

    `shuffle` changes the order of the shards, so that a run that ends early does not always skip
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
        run_all: RunAll = map,
    ) -> None:
        self._name = name
        self._table = table
        self._queue = queue
        self._dead_letters = dead_letters
        self._policy = policy
        self._clock = clock
        self._shuffle = shuffle
        self._run_all = run_all

    def run(self) -> ReconcileReport:
        """Handle every task that needs something: deadlines first, then unsent, then lost messages.

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
            self._run_shards(self._end_overdue, report)
            raise
        self._run_shards(self._end_overdue, report)
        self._run_shards(self._count_queued, report)
        # Counted before and after the tasks, so that neither a growing nor a shrinking backlog
        # looks like lost messages.
        missing = report.queued - max(backlog.total(), self._queue.backlog().total())
        self._run_shards(self._send_unsent, report)
        if missing > 0 and not report.not_sent:
            report.add(self._resend_lost(missing))
        log.info(
            "reconciled",
            **asdict(report),
            missing=max(0, missing),
            backlog=backlog.visible,
            dead_letters=dead_letters.visible,
            metrics={
                Metric.RECONCILE_RUNS: 1,
                Metric.TASKS_RESENT: report.sent + report.resent,
                Metric.OPEN_TASKS_OVERDUE: report.overdue,
                Metric.ROWS_UNREADABLE: report.unreadable,
                Metric.BACKLOG: backlog.visible,
                Metric.DEAD_LETTERS: dead_letters.visible,
            },
        )
        if report.not_sent:
            raise QueueUnavailable(f"Some messages could not be sent: {report}")
        return report

    def _run_shards(self, work: Callable[[int], ReconcileReport], report: ReconcileReport) -> None:
        """Add the results of all shards. Raises ``TableUnavailable`` if some failed."""

        def run(shard: int) -> ReconcileReport:
            try:
                return work(shard)
            except TableUnavailable:
                log.exception("shard not reconciled", shard=shard)
                return ReconcileReport(failed_shards=1)

        shards = list(range(OPEN_SHARDS))
        self._shuffle(shards)
        for of_shard in self._run_all(run, shards):
            report.add(of_shard)
        if report.failed_shards:
            raise TableUnavailable(f"Some shards could not be reconciled: {report}")

    # ── Deadlines ─────────────────────────────────────────────────────────────────────────────

    def _end_overdue(self, shard: int) -> ReconcileReport:
        report = ReconcileReport()
        for task_id in self._table.overdue_task_ids(shard, self._clock()):
            error = DeadlinePassed("The task did not finish before its deadline.")
            self._give_up(task_id, error, report)
        return report

    def _give_up(self, task_id: str, error: AttemptError, report: ReconcileReport) -> None:
        now = self._clock()
        try:
            task = self._table.give_up(task_id, error, now=now, limits=self._policy.limits)
        except TransitionRefused as refused:
            # A worker was first, or it may still finish the task.
            if refused.task is not None and refused.task.phase(now) is Phase.LEASED:
                report.overdue += 1
                log.warning("task overdue", task_id=task_id, request_id=refused.task.request_id)
            return
        except RowUnreadable as unreadable:
            _report_unreadable(task_id, unreadable, report)
            return
        report.given_up += 1
        log.error(
            "task given up",
            task_id=task.task_id,
            request_id=task.request_id,
            failure_code=error.code,
            metrics={Metric.TASKS_FAILED: 1},
            dimensions={"FailureCode": error.code},
        )

    # ── Messages ──────────────────────────────────────────────────────────────────────────────

    def _send_unsent(self, shard: int) -> ReconcileReport:
        report = ReconcileReport()
        unsent = self._table.unsent_tasks(shard, self._clock())
        for tasks in _batched(unsent, MAX_MESSAGES_PER_CALL):
            report.sent += self._send(tasks, report)
            if report.not_sent:
                break  # the queue is unavailable
        return report

    def _count_queued(self, shard: int) -> ReconcileReport:
        checked_before = self._clock() + self._policy.recheck - self._policy.count_lag
        return ReconcileReport(queued=self._table.count_sent(shard, checked_before=checked_before))

    def _resend_lost(self, missing: int) -> ReconcileReport:
        """Send up to `missing` messages, for the tasks that have waited longest."""
        report = ReconcileReport()
        for suspects in _batched(self._oldest_suspects(missing), MAX_ROWS_PER_READ):
            lost = [
                OpenTask(task.task_id, suspect.check_at, task.deadline_at)
                for suspect, task in self._read(suspects, report)
                if self._is_lost(task, report)
            ]
            for tasks in _batched(lost[: missing - report.resent], MAX_MESSAGES_PER_CALL):
                report.resent += self._send(tasks, report)
            if report.resent >= missing or report.not_sent:
                break
        return report

    def _oldest_suspects(self, missing: int) -> Sequence[OpenTask]:
        now = self._clock()
        limit = min(missing + SPARE_SUSPECTS, MAX_SUSPECTS_PER_SHARD)
        suspects = [
            task
            for shard in range(OPEN_SHARDS)
            for task in islice(self._table.sent_tasks(shard, now), limit)
        ]
        return sorted(suspects, key=lambda task: task.check_at)

    def _read(
        self, suspects: Sequence[OpenTask], report: ReconcileReport
    ) -> Iterator[tuple[OpenTask, Task]]:
        rows = self._table.get_many([suspect.task_id for suspect in suspects])
        for suspect in suspects:
            match rows.get(suspect.task_id):
                case Task() as task if task.check_at == suspect.check_at:
                    yield suspect, task
                case RowUnreadable() as unreadable:
                    _report_unreadable(suspect.task_id, unreadable, report)
                case _:
                    pass  # the index lags behind the row

    def _is_lost(self, task: Task, report: ReconcileReport) -> bool:
        """Whether the row does not explain where the message is. Ends a task without attempts."""
        now = self._clock()
        hidden_until = [time for time in (task.lease_until, task.next_attempt_at) if time]
        # A message reappears about when its lease or its wait ends. Allow a lease more.
        if any(now < time + self._policy.lease for time in hidden_until):
            return False
        if error := task.exhaustion(now, self._policy.limits):
            self._give_up(task.task_id, error, report)
            return False
        return True

    def _send(self, tasks: Sequence[OpenTask], report: ReconcileReport) -> int:
        """Send up to ten messages, and return how many.

        The row changes first, so that only one reconciler sends. If the queue does not accept a
        message, the row says again that it is unsent.
        """
        now = self._clock()
        next_check = {
            task.task_id: max(now, min(now + self._policy.recheck, task.deadline_at))
            for task in tasks
        }
        envelopes = {
            task.task_id: envelope
            for task in tasks
            if (
                envelope := self._table.take_for_sending(
                    task, next_check=next_check[task.task_id], taken_by=self._name
                )
            )
        }
        if not envelopes:
            return 0
        try:
            rejected = self._queue.send_all(list(envelopes.values()))
        except QueueUnavailable:
            log.exception("tasks not sent")
            rejected = list(envelopes)
        for task_id in rejected:
            self._table.restore_unsent(
                task_id, next_check=next_check[task_id], taken_by=self._name, now=now
            )
        for task_id in envelopes.keys() - set(rejected):
            log.warning("task sent", task_id=task_id, request_id=envelopes[task_id].request_id)
        report.not_sent += len(rejected)
        return len(envelopes) - len(rejected)


def _report_unreadable(task_id: str, error: RowUnreadable, report: ReconcileReport) -> None:
    report.unreadable += 1
    log.error("row unreadable", task_id=task_id, reason=str(error))


def _batched(tasks: Iterable[OpenTask], size: int) -> Iterator[Sequence[OpenTask]]:
    remaining = iter(tasks)
    while batch := list(islice(remaining, size)):
        yield batch
