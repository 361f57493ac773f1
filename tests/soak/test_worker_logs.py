"""Recovery times are read correctly from the workers' logs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.soak.process_faults import WorkerLoss
from tests.soak.worker_logs import recovery_times_s

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def log(path: Path, *lines: tuple[float, str, str]) -> Path:
    path.write_text(
        "".join(
            json.dumps({"timestamp": after(at).isoformat(), "task_id": task_id, "message": message})
            + "\n"
            for at, task_id, message in lines
        )
        + '{"timestamp": "2026-01-'  # the process was killed while it wrote this line
    )
    return path


def test_a_lost_task_recovers_with_its_next_claim_or_its_end(tmp_path: Path) -> None:
    killed = log(
        tmp_path / "worker-1.log",
        (0, "done before", "task claimed"),
        (1, "done before", "task completed"),
        (1, "claimed again", "task claimed"),
        (2, "canceled", "task claimed"),
    )
    other = log(tmp_path / "worker-2.log", (7, "claimed again", "task claimed"))
    times = recovery_times_s(
        [killed, other],
        [WorkerLoss(killed, after(3))],
        {"claimed again": after(9), "canceled": after(5), "done before": after(1)},
    )
    assert times == [2, 4]


def test_tasks_that_a_worker_claims_after_thawing_were_not_lost(tmp_path: Path) -> None:
    frozen = log(
        tmp_path / "worker-1.log",
        (9, "later", "task claimed"),
        (10, "later", "task completed"),
    )
    assert recovery_times_s([frozen], [WorkerLoss(frozen, after(3))], {}) == []
