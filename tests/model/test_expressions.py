"""The table in memory compared with moto's: the same writes, rejections and rows."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import LeaseLost
from services.common.task import Move, Phase, Task
from services.common.task_record import to_item
from services.common.task_table import OpenTask, TaskTable, TransitionRefused
from tests.conftest import Cloud
from tests.model.memory_dynamodb import MemoryDynamoDB
from tests.moves import make_move
from tests.tasks import LEASE, LIMITS, NOW, POLICY, new_task, task_in

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

AROUND_NOW = st.sampled_from([NOW - LEASE, NOW, NOW + timedelta(milliseconds=1), NOW + LEASE])

tasks = st.builds(
    task_in,
    st.sampled_from(Phase),
    attempt=st.integers(0, 6),
    lease_owner=st.sampled_from([None, "me", "another"]),
    lease_until=st.none() | AROUND_NOW,
    deadline_at=AROUND_NOW,
    created_at=AROUND_NOW,
    started_at=st.none() | AROUND_NOW,
    will_retry=st.booleans(),
    checked_by=st.sampled_from([None, "a", "b"]),
    unsent=st.booleans(),
    next_attempt_at=st.none() | AROUND_NOW,
    expired_leases=st.integers(0, LIMITS.expired_leases),
)


def table_on(client: object) -> TaskTable:
    return TaskTable(
        cast("DynamoDBClient", client), table="taskfleet-tasks", retention=POLICY.retention
    )


def outcome(table: TaskTable, move: Move, task: Task) -> tuple[str, Task | None]:
    result = "done"
    try:
        make_move(table, move, task)
    except LeaseLost:
        result = "lease lost"
    except TransitionRefused as refused:
        result = f"refused: {refused.task}"
    return result, table.get(task.task_id)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(task=tasks)
def test_a_move_has_the_same_outcome_in_memory_as_in_moto(cloud: Cloud, task: Task) -> None:
    for move in Move:
        memory = MemoryDynamoDB()
        memory.items[task.task_id] = to_item(task)
        cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
        assert outcome(table_on(memory), move, task) == outcome(
            table_on(cloud.dynamodb), move, task
        )


@pytest.mark.parametrize("client", ["memory", "moto"])
def test_a_row_is_created_once(cloud: Cloud, client: str) -> None:
    table = table_on(MemoryDynamoDB() if client == "memory" else cloud.dynamodb)
    first = table.create(new_task())
    assert table.create(new_task(request_id="another")) == first


@pytest.mark.parametrize("client", ["memory", "moto"])
def test_a_task_is_taken_for_sending_only_if_its_check_is_unchanged(
    cloud: Cloud, client: str
) -> None:
    table = table_on(MemoryDynamoDB() if client == "memory" else cloud.dynamodb)
    task = table.create(new_task(unsent=True, check_at=NOW))
    due = OpenTask(task.task_id, NOW, task.deadline_at)

    def is_taken(name: str) -> bool:
        return bool(table.take_for_sending(due, next_check=NOW + LEASE, taken_by=name))

    assert [is_taken("a"), is_taken("b"), is_taken("a")] == [True, False, True]
    table.restore_unsent(task.task_id, next_check=NOW + LEASE, taken_by="a", now=NOW)
    assert table.get(task.task_id) == replace(task, checked_by="a")
    assert table.get_many([task.task_id, "unknown"]).keys() == {task.task_id}


@pytest.mark.parametrize("client", ["memory", "moto"])
def test_the_index_lists_due_tasks_oldest_first(cloud: Cloud, client: str) -> None:
    dynamodb: Any = MemoryDynamoDB() if client == "memory" else cloud.dynamodb
    table = table_on(dynamodb)
    for number in (3, 1, 2):
        task = new_task(f"task-{number}", open_shard=7, check_at=NOW + number * LEASE)
        table.create(task)
    table.create(new_task("elsewhere", open_shard=8, check_at=NOW))
    table.create(new_task("unsent", open_shard=7, check_at=NOW, unsent=True))
    table.create(new_task("late", open_shard=7, check_at=NOW, deadline_at=NOW + LEASE))
    later = NOW + 2 * LEASE
    assert ids(table.sent_tasks(7, later)) == ["late", "task-1", "task-2"]
    assert ids(table.unsent_tasks(7, later)) == ["unsent"]
    assert list(table.overdue_task_ids(7, later)) == ["late"]
    assert table.count_sent(7, checked_before=later) == 3


def ids(tasks: Iterable[OpenTask]) -> list[str]:
    return [task.task_id for task in tasks]


def test_a_lagging_index_shows_its_earlier_content(cloud: Cloud) -> None:
    memory = MemoryDynamoDB()
    table = table_on(memory)
    table.create(new_task("old", open_shard=7, check_at=NOW))
    memory.update_index()
    memory.index_lags = True
    table.create(new_task("new", open_shard=7, check_at=NOW))
    table.cancel("old", now=NOW)
    assert ids(table.sent_tasks(7, NOW)) == ["old"]
    memory.update_index()
    assert ids(table.sent_tasks(7, NOW)) == ["new"]
