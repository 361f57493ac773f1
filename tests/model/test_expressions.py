"""The table in memory compared with moto's: the same writes, rejections and rows."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import LeaseLost
from services.common.task import Move, Phase, Task
from services.common.task_record import to_item
from services.common.task_table import TaskTable, TransitionRefused
from tests.conftest import Cloud
from tests.model.memory_dynamodb import MemoryDynamoDB
from tests.moves import make_move
from tests.tasks import LEASE, NOW, POLICY, new_task, task_in

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
def test_a_check_is_rescheduled_only_if_it_is_unchanged(cloud: Cloud, client: str) -> None:
    table = table_on(MemoryDynamoDB() if client == "memory" else cloud.dynamodb)
    task = table.create(new_task())

    def schedule(name: str) -> bool:
        return table.schedule_check(task, check_at=NOW + LEASE, gap=LEASE, checked_by=name)

    assert [schedule("a"), schedule("b"), schedule("a")] == [True, False, True]


@pytest.mark.parametrize("client", ["memory", "moto"])
def test_the_index_lists_due_tasks_oldest_first(cloud: Cloud, client: str) -> None:
    dynamodb: Any = MemoryDynamoDB() if client == "memory" else cloud.dynamodb
    table = table_on(dynamodb)
    for number in (3, 1, 2):
        task = new_task(f"task-{number}", open_shard=7, check_at=NOW + number * LEASE)
        table.create(task)
    table.create(new_task("elsewhere", open_shard=8, check_at=NOW))
    assert list(table.due_task_ids(7, NOW + 2 * LEASE)) == ["task-1", "task-2"]


def test_a_lagging_index_shows_its_earlier_content(cloud: Cloud) -> None:
    memory = MemoryDynamoDB()
    table = table_on(memory)
    table.create(new_task("old", open_shard=7, check_at=NOW))
    memory.update_index()
    memory.index_lags = True
    table.create(new_task("new", open_shard=7, check_at=NOW))
    table.cancel("old", now=NOW)
    assert list(table.due_task_ids(7, NOW)) == ["old"]
    memory.update_index()
    assert list(table.due_task_ids(7, NOW)) == ["new"]
