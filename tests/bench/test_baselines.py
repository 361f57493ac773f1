"""A baseline makes the same AWS calls and produces the same images as the program."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import IMAGES
from bench.overhead import submission_cost, task_cost
from bench.overhead.measured_program import MeasuredProgram

TASKS = 3


def shape(row: Mapping[str, Any]) -> dict[str, str]:
    """The names and types of a row's attributes."""
    return {name: next(iter(value)) for name, value in row.items()}


def size(row: Mapping[str, Any]) -> int:
    return len(json.dumps(row))


@pytest.mark.parametrize("image", IMAGES)
def test_worker_and_baseline_make_the_same_calls_and_images(tmp_path: Path, image: str) -> None:
    with task_cost.started(tmp_path) as (worker, baseline):
        worker.cpu_ms_per_unit(TASKS, lambda: task_cost.process_with_worker(worker, image, TASKS))
        baseline.cpu_ms_per_unit(
            TASKS, lambda: task_cost.process_with_baseline(baseline, image, TASKS, receives=2)
        )

    assert baseline.calls.pop("ReceiveMessage") == 2
    assert worker.calls.pop("ReceiveMessage") > 0
    assert baseline.calls == worker.calls
    assert baseline.calls == Counter(
        {"GetImage": TASKS, "PutObject": TASKS, "UpdateItem": 2 * TASKS, "DeleteMessage": TASKS}
    )
    assert results(baseline) == results(worker)
    [of_baseline, *_], [of_worker, *_] = baseline.aws.table.rows(), worker.aws.table.rows()
    assert shape(of_baseline) == shape(of_worker)
    assert size(of_baseline) == pytest.approx(size(of_worker), rel=0.05)


def results(program: MeasuredProgram) -> set[tuple[str, ...]]:
    """The distinct results in the rows: one, because all tasks have the same image."""
    rows = program.aws.table.rows()
    assert [row["status"] for row in rows] == [{"S": "COMPLETED"}] * TASKS
    parts = ("contentType", "bytes", "width", "height", "sha256")
    return {tuple(next(iter(row["result"]["M"][part].values())) for part in parts) for row in rows}


def test_api_and_baseline_make_the_same_calls_and_rows(tmp_path: Path) -> None:
    with submission_cost.started(tmp_path) as (api, clients, baseline):
        clients.submit(1)  # also reserves a share of the rate limit
        api.cpu_ms_per_unit(TASKS, lambda: clients.submit(TASKS))
        baseline.cpu_ms_per_unit(
            TASKS, lambda: submission_cost.submit_with_baseline(baseline, TASKS)
        )
        in_background = {"GetSecretValue", "UpdateItem"}  # every 2 s, and once a minute

    assert baseline.calls == Counter({"PutItem": TASKS, "SendMessage": TASKS})
    assert {
        operation: calls for operation, calls in api.calls.items() if operation not in in_background
    } == baseline.calls
    of_api = next(row for row in api.aws.table.rows() if "status" in row)
    [of_baseline, *_] = baseline.aws.table.rows()
    assert shape(of_baseline) == shape(of_api)
    assert size(of_baseline) == pytest.approx(size(of_api), rel=0.05)
