"""The floor makes the same AWS calls as Taskfleet and produces the same images and rows."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.contestants import FLOOR, TASKFLEET
from bench.images import LARGE, SMALL, TINY, write_images
from bench.stub_aws.client import StubAws
from bench.tasks import NO_LATENCIES, Case, Entrant, entered

TASKS = 10


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    write_images(folder)
    return folder


@pytest.mark.parametrize("image", [SMALL, LARGE, TINY])
def test_worker_and_floor_make_the_same_calls_rows_and_images(
    images: Path, tmp_path: Path, image: str
) -> None:
    case = Case(
        name="test",
        image=image,
        latencies=NO_LATENCIES,
        contestants=(TASKFLEET, FLOOR),
        tasks=TASKS,
    )
    with entered([case], rounds=1, images=images, scratch=tmp_path) as entrants:
        worker, floor = entrants[TASKFLEET.name], entrants[FLOOR.name]
        of_worker, of_floor = worker.run(image, TASKS), floor.run(image, TASKS)

        for call in ("UpdateItem", "GetImage", "PutObject"):
            assert of_worker["calls"][call] == of_floor["calls"][call]
        assert of_worker["write_units"] == pytest.approx(of_floor["write_units"], abs=0.5)
        assert results(worker) == results(floor)


def results(entrant: Entrant) -> set[tuple[str, ...]]:
    """The distinct results in the rows: one, because all tasks have the same image."""
    rows = entrant.aws.rows()
    assert [row["status"] for row in rows] == [{"S": "COMPLETED"}] * TASKS
    parts = ("contentType", "bytes", "width", "height", "sha256")
    found = {tuple(text(row["result"]["M"][part]) for part in parts) for row in rows}
    assert len(found) == 1
    return found


def text(attribute: Mapping[str, Any]) -> str:
    return str(next(iter(attribute.values())))


def test_api_and_floor_make_the_same_calls_and_rows(images: Path, tmp_path: Path) -> None:
    log = tmp_path / "aws.log"
    with (
        StubAws(images=images, log=log, secret=api.secret()) as aws,
        api.started(aws, scratch=tmp_path) as running,
    ):
        for _ in range(TASKS):
            running.submit()
        [of_api, *_] = [row for row in aws.rows() if "status" in row]
        calls = aws.state().calls
        assert (calls["PutItem"], calls["SendMessage"]) == (TASKS, TASKS)

    with StubAws(images=images, log=log) as aws:
        subprocess.run(
            [sys.executable, "-m", "bench.floor.submission_loop", str(TASKS)],
            env=aws.environment(os.environ),
            check=True,
        )
        [of_floor, *_] = aws.rows()
        calls = aws.state().calls

    assert set(calls) == {"PutItem", "SendMessage"}
    assert calls["PutItem"] == calls["SendMessage"] > TASKS
    assert of_floor.keys() == of_api.keys()
