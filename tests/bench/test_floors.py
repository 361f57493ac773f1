"""A floor is worth nothing unless it makes the calls, and the images, of what stands on it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import IMAGES
from bench.overhead import submit_cost, task_cost
from bench.overhead.side import Side

TASKS = 3


def shape(row: Mapping[str, Any]) -> dict[str, str]:
    """Names and types of a row's attributes."""
    return {name: next(iter(value)) for name, value in row.items()}


def size(row: Mapping[str, Any]) -> int:
    return len(json.dumps(row))


@pytest.mark.parametrize("image", IMAGES)
def test_worker_and_floor_make_the_same_calls_and_the_same_image(
    tmp_path: Path, image: str
) -> None:
    with task_cost.started(tmp_path) as (worker, bare):
        worker.cost_ms(TASKS, lambda: task_cost.do_by_worker(worker, image, TASKS))
        bare.cost_ms(TASKS, lambda: task_cost.do_by_floor(bare, image, TASKS, receives=2))

    assert bare.calls.pop("ReceiveMessage") == 2
    assert worker.calls.pop("ReceiveMessage") > 0
    assert bare.calls == worker.calls
    assert bare.calls == Counter(
        {"GetImage": TASKS, "PutObject": TASKS, "UpdateItem": 2 * TASKS, "DeleteMessage": TASKS}
    )
    assert results(bare) == results(worker)
    [by_floor, *_], [by_worker, *_] = bare.aws.table.rows(), worker.aws.table.rows()
    assert shape(by_floor) == shape(by_worker)
    assert size(by_floor) == pytest.approx(size(by_worker), rel=0.05)


def results(side: Side) -> set[tuple[str, ...]]:
    """What the rows say of the images; all tasks had the same one."""
    rows = side.aws.table.rows()
    assert [row["status"] for row in rows] == [{"S": "COMPLETED"}] * TASKS
    parts = ("contentType", "bytes", "width", "height", "sha256")
    return {tuple(next(iter(row["result"]["M"][part].values())) for part in parts) for row in rows}


def test_api_and_floor_make_the_same_calls_and_the_same_row(tmp_path: Path) -> None:
    with submit_cost.started(tmp_path) as (api, clients, bare):
        clients.submit(1)  # which also reserves submissions for some time
        api.cost_ms(TASKS, lambda: clients.submit(TASKS))
        bare.cost_ms(TASKS, lambda: submit_cost.submit_by_floor(bare, TASKS))
        in_background = {"GetSecretValue", "UpdateItem"}  # every 2 s, and for a new minute

    assert bare.calls == Counter({"PutItem": TASKS, "SendMessage": TASKS})
    assert {
        operation: calls for operation, calls in api.calls.items() if operation not in in_background
    } == bare.calls
    by_api = next(row for row in api.aws.table.rows() if "status" in row)
    [by_floor, *_] = bare.aws.table.rows()
    assert shape(by_floor) == shape(by_api)
    assert size(by_floor) == pytest.approx(size(by_api), rel=0.05)
