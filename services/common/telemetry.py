"""Structured logs and metrics on standard output: one line for each event.

In production a line is JSON for CloudWatch Logs; a line that carries metrics is at the same time a
document in CloudWatch's embedded metric format ("Specification: Embedded metric format" in the
Amazon CloudWatch User Guide), so a metric costs no call and no agent. On a terminal a line is for
people.

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
    """Every metric of ours: its name, CloudWatch unit, and the sets of dimensions it appears under.

    Each set comes on top of Service and Environment.
    """

    TASKS_SUBMITTED = ("TasksSubmitted", "Count", ((),))
    TASKS_COMPLETED = ("TasksCompleted", "Count", ((),))
    TASKS_FAILED = ("TasksFailed", "Count", ((), ("FailureCode",)))
    """Failed for good."""
    ATTEMPTS_FAILED = ("AttemptsFailed", "Count", ((), ("FailureCode",)))
    """Every failed attempt, retried or not."""
    FIRST_CLAIM_WAIT = ("FirstClaimWait", "Milliseconds", ((),))
    """From submission or retry to the first claim: what the scaling promise is about."""
    STAGE_DURATION = ("StageDuration", "Milliseconds", (("Stage",),))
    """Stages: fetch, image, store, and total for the whole attempt."""
    RECONCILE_RUNS = ("ReconcileRuns", "Count", ((),))
    TASKS_RESENT = ("TasksResent", "Count", ((),))
    OPEN_TASKS_OVERDUE = ("OpenTasksOverdue", "Count", ((),))
    """Open although their deadline has passed, after the reconciler did what it could."""
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
    """Set up the logs of this process, ours and those of libraries (warnings and worse), once."""
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
    # Plain tracebacks: the rich ones print local variables, and with them secrets.
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


class _EmbedMetrics:
    """Turns the keys `metrics` and `dimensions` into the fields of the embedded metric format."""

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
