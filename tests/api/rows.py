"""Writes rows to the table directly, as workers leave them."""

from typing import Any

from services.common.task import Phase, Task
from services.common.task_record import to_item
from tests.conftest import Cloud
from tests.tasks import task_in


def put_task(cloud: Cloud, phase: Phase, **changes: Any) -> Task:
    task = task_in(phase, **changes)
    cloud.dynamodb.put_item(TableName=cloud.resources.task_table, Item=to_item(task))
    return task
