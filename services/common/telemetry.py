"""Structured logs and metrics on standard output, one line for each event.

In production, a line is JSON for CloudWatch Logs. A line with metrics is also a document in the
embedded metric format ("Specification: Embedded metric format", Amazon CloudWatch User Guide), so
metrics need no calls and no agent. The console format is for people.

    log = structlog.get_logger()
    log.info("attempt failed", failure_code=code, metrics={Metric.TASKS_FAILED: 1},
             dimensions={"FailureCode": code})
"""

import logging
import sys
import time
from enum import Enum
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

NAMESPACE = "Taskfleet"


class Metric(Enum):
    """Every metric: its name, its CloudWatch unit, and its sets of dimensions.

    Every set also includes Service and Environment.
    """

    TASKS_SUBMITTED = ("TasksSubmitted", "Count", ((),))
    TASKS_COMPLETED = ("TasksCompleted", "Count", ((),))
    TASKS_FAILED = ("TasksFailed", "Count", ((), ("FailureCode",)))
    """Tasks that failed and will not be retried."""
    ATTEMPTS_FAILED = ("AttemptsFailed", "Count", ((), ("FailureCode",)))
    """All failed attempts, retried or not."""
    ATTEMPTS_DEFERRED = ("AttemptsDeferred", "Count", ((), ("Reason",)))
    """Attempts that were given back and count toward no limit."""
    ROWS_UNREADABLE = ("RowsUnreadable", "Count", ((),))
    """Rows of open tasks that this version cannot read."""
    FIRST_CLAIM_WAIT = ("FirstClaimWait", "Milliseconds", ((),))
    """From submission or retry to the first claim. The scaling promise bounds it."""
    STAGE_DURATION = ("StageDuration", "Milliseconds", (("Stage",),))
    """Stages: fetch, image and store, and total for the whole attempt."""
    RECONCILE_RUNS = ("ReconcileRuns", "Count", ((),))
    TASKS_RESENT = ("TasksResent", "Count", ((),))
    OPEN_TASKS_OVERDUE = ("OpenTasksOverdue", "Count", ((),))
    """Tasks still open after their deadline, at the end of a reconciler run."""
    BACKLOG = ("Backlog", "Count", ((),))
    DEAD_LETTERS = ("DeadLetters", "Count", ((),))

    def __init__(self, label: str, unit: str, dimension_sets: tuple[tuple[str, ...], ...]) -> None:
        self.label = label
        self.unit = unit
        self.dimension_sets = dimension_sets


def configure(
    *,
    service: str,
    environment: str,
    log_format: Literal["json", "console"],
    stream: TextIO = sys.stdout,
) -> None:
    """Set up logging for this process. Of libraries, it logs warnings and errors. Call it once."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after: list[Processor]
    if log_format == "json":
        after = [
            _EmbedMetrics(service=service, environment=environment),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        after = [_drop_metrics, _console(colors=stream.isatty())]

    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    libraries = logging.StreamHandler(stream)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    logging.basicConfig(handlers=[libraries], level=logging.WARNING, force=True)


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    # Rich tracebacks would print local variables, which may contain secrets.
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


class _EmbedMetrics:
    """Converts the keys `metrics` and `dimensions` to the embedded metric format."""

    def __init__(self, *, service: str, environment: str) -> None:
        self._common = {"Service": service, "Environment": environment}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.update(self._common)
        metrics: dict[Metric, float] | None = event.pop("metrics", None)
        dimensions: dict[str, str] = event.pop("dimensions", {})
        if not metrics:
            return event
        event.update(dimensions)
        event.update({metric.label: value for metric, value in metrics.items()})
        event["_aws"] = {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [self._directive(metric) for metric in metrics],
        }
        return event

    def _directive(self, metric: Metric) -> dict[str, Any]:
        return {
            "Namespace": NAMESPACE,
            "Dimensions": [[*self._common, *extra] for extra in metric.dimension_sets],
            "Metrics": [{"Name": metric.label, "Unit": metric.unit}],
        }


def _drop_metrics(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("metrics", None)
    event.pop("dimensions", None)
    return event
