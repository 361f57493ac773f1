"""Measures from the workers' logs how long tasks waited after their worker was lost."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.soak.process_faults import WorkerLoss

CLAIMED = "task claimed"
ENDED = frozenset({"task completed", "attempt failed", "attempt discarded", "task released"})
"""Log messages after which a worker no longer has the task."""


class LogLine(NamedTuple):
    at: datetime
    task_id: str
    message: str


def recovery_times_s(
    logs: Sequence[Path],
    losses: Sequence[WorkerLoss],
    finished_at: Mapping[str, datetime],
) -> Sequence[float]:
    """Seconds from each loss until the next claim, or the end, of each task that the worker had."""
    lines = {log: list(_lines(log)) for log in logs}
    claims: defaultdict[str, list[datetime]] = defaultdict(list)
    for line in (line for each in lines.values() for line in each if line.message == CLAIMED):
        claims[line.task_id].append(line.at)
    times = []
    for loss in losses:
        for task_id in _tasks_at(lines[loss.log], loss.at):
            events = [*claims[task_id], *filter(None, [finished_at.get(task_id)])]
            if later := [at for at in events if at > loss.at]:
                times.append((min(later) - loss.at).total_seconds())
    return sorted(times)


def _tasks_at(lines: Sequence[LogLine], at: datetime) -> Sequence[str]:
    """The tasks that the worker had at that time."""
    has_task: dict[str, bool] = {}
    for line in lines:
        if line.at <= at:
            has_task[line.task_id] = line.message == CLAIMED or (
                has_task.get(line.task_id, False) and line.message not in ENDED
            )
    return [task_id for task_id, has_it in has_task.items() if has_it]


def _lines(log: Path) -> Iterator[LogLine]:
    for text in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(text)
        except ValueError:
            continue  # truncated by a kill, or not written by our logger
        if "task_id" in event:
            yield LogLine(
                datetime.fromisoformat(event["timestamp"]), event["task_id"], event["message"]
            )
