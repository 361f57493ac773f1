"""How long a task waited after its worker disappeared, read from the workers' own logs."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.soak.chaos import Disappearance

CLAIMED = "task claimed"
ENDED = frozenset({"task completed", "attempt failed", "attempt discarded", "task released"})
"""Messages after which a worker no longer has the task."""


class LogLine(NamedTuple):
    at: datetime
    task_id: str
    message: str


def recovery_times_s(
    logs: Sequence[Path],
    disappearances: Sequence[Disappearance],
    finished_at: Mapping[str, datetime],
) -> Sequence[float]:
    """Seconds from each disappearance until another claim, or the end, of each task it held."""
    lines = {log: list(_lines(log)) for log in logs}
    claims: defaultdict[str, list[datetime]] = defaultdict(list)
    for line in (line for each in lines.values() for line in each if line.message == CLAIMED):
        claims[line.task_id].append(line.at)
    times = []
    for log, gone_at in ((each.log, each.at) for each in disappearances):
        for task_id in _held(lines[log], gone_at):
            ends = [*claims[task_id], *filter(None, [finished_at.get(task_id)])]
            if later := [at for at in ends if at > gone_at]:
                times.append((min(later) - gone_at).total_seconds())
    return sorted(times)


def _held(lines: Sequence[LogLine], at: datetime) -> Sequence[str]:
    held: dict[str, bool] = {}
    for line in lines:
        if line.at <= at:
            held[line.task_id] = line.message == CLAIMED or (
                held.get(line.task_id, False) and line.message not in ENDED
            )
    return [task_id for task_id, is_held in held.items() if is_held]


def _lines(log: Path) -> Iterator[LogLine]:
    for text in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(text)
        except ValueError:
            continue  # cut off by a kill, or not ours
        if "task_id" in event:
            yield LogLine(
                datetime.fromisoformat(event["timestamp"]), event["task_id"], event["message"]
            )
