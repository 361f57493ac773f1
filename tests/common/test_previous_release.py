"""Rows and messages of the previous release, which a deployment may replace or be rolled back to.

`previous_release.json` was written by that release: a row in each phase, one that a stopping worker
released, and a message.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from services.common.task import Move, Phase
from services.common.task_queue import TaskQueue, parse_body
from services.common.task_record import from_item, to_item
from services.common.task_table import TaskTable
from tests.conftest import Cloud
from tests.moves import make_move
from tests.tasks import LEASE, LIMITS, NOW, envelope, task_in

SAMPLES = json.loads(Path(__file__).with_name("previous_release.json").read_text())
ROWS: dict[str, dict[str, Any]] = SAMPLES["rows"]
WORKER_MOVES = {
    "PENDING": Move.CLAIM,
    "LEASED": Move.COMPLETE,
    "ABANDONED": Move.TAKE_OVER,
    "RELEASED": Move.TAKE_OVER,
    "RETRYING": Move.CLAIM,
    "FAILED": Move.RETRY,
    "CANCELED": Move.RETRY,
}


@pytest.mark.parametrize("phase", Phase)
def test_a_row_of_the_previous_release_is_read(phase: Phase) -> None:
    task = from_item(ROWS[phase])
    assert task == task_in(phase)
    assert task.phase(NOW) is phase


@pytest.mark.parametrize("name", WORKER_MOVES)
def test_a_row_of_the_previous_release_goes_on(cloud: Cloud, table: TaskTable, name: str) -> None:
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=ROWS[name])
    task = from_item(ROWS[name])
    make_move(table, WORKER_MOVES[name], task)
    row = table.get(task.task_id)
    assert row is not None
    assert row.status != task.status or row.attempt > task.attempt


def test_an_attempt_limit_of_the_previous_release_ends_no_task(
    cloud: Cloud, table: TaskTable
) -> None:
    used_up = {**ROWS["PENDING"], "attempt": {"N": "5"}}
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=used_up)
    task_id = used_up["taskId"]["S"]
    claim = table.claim(task_id, lease_owner="w", lease_until=NOW + LEASE, now=NOW)
    assert claim.attempt == 6


@pytest.mark.parametrize("phase", Phase)
def test_a_row_has_what_the_previous_release_reads(phase: Phase) -> None:
    """In the same form. It rejects a row without one of these, and ignores others."""
    row = to_item(task_in(phase))
    for name, value in ROWS[phase].items():
        assert row.get(name, {}).keys() == value.keys(), name


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING])
def test_the_previous_release_may_claim_a_task_that_was_given_back_often(phase: Phase) -> None:
    row = to_item(task_in(phase, attempt=100, source_failures=LIMITS.source_failures - 1))
    assert int(row["attempt"]["N"]) < int(row["attemptLimit"]["N"])


def test_a_message_has_the_same_form_as_in_the_previous_release(
    cloud: Cloud, queue: TaskQueue
) -> None:
    task_id, request_id = parse_body(SAMPLES["message"])
    assert (task_id, request_id) == (ROWS["PENDING"]["taskId"]["S"], "request-1")
    assert task_id is not None
    queue.send(envelope(task_id, request_id="request-1"))
    [message] = queue.receive(limit=1, wait_s=0)
    assert json.loads(message.body) == json.loads(SAMPLES["message"])
