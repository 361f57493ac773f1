"""POST /tasks/{taskId}/cancel and /retry."""

from datetime import timedelta

import pytest

from services.common.task import Phase, Status, Task
from services.common.task_queue import TaskQueue
from services.common.task_table import TaskTable
from tests.api.conftest import Api, MakeApi
from tests.api.rows import put_task
from tests.broken_aws import BrokenQueue
from tests.conftest import Clock, Cloud

OPEN = [Phase.PENDING, Phase.LEASED, Phase.ABANDONED, Phase.RETRYING]


@pytest.mark.parametrize("phase", OPEN)
def test_an_open_task_can_be_canceled(
    api: Api, cloud: Cloud, table: TaskTable, phase: Phase
) -> None:
    task = put_task(cloud, phase)
    response = api.post(f"/tasks/{task.task_id}/cancel")

    assert (response.status_code, response.body["status"]) == (200, "CANCELED")
    row = table.get(task.task_id)
    assert row is not None
    assert row.status is Status.CANCELED


def test_canceling_twice_is_not_an_error(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.PENDING)
    api.post(f"/tasks/{task.task_id}/cancel")

    assert api.post(f"/tasks/{task.task_id}/cancel").status_code == 200


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.FAILED])
def test_a_final_task_cannot_be_canceled(api: Api, cloud: Cloud, phase: Phase) -> None:
    task = put_task(cloud, phase)
    response = api.post(f"/tasks/{task.task_id}/cancel")

    assert response.status_code == 409
    assert response.body["taskStatus"] == task.status


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CANCELED, Phase.RETRYING])
def test_a_retried_task_gets_new_attempts_and_a_new_deadline(
    api: Api, cloud: Cloud, queue: TaskQueue, clock: Clock, phase: Phase
) -> None:
    task = put_task(cloud, phase, attempt=5)
    clock.advance(timedelta(hours=30))
    response = api.post(f"/tasks/{task.task_id}/retry", headers={"X-Request-Id": "retry-request"})

    assert (response.status_code, response.body["status"]) == (200, "PENDING")
    assert (response.body["attempt"], response.body["final"]) == (5, False)
    assert response.body["deadlineAt"] == "2026-01-04T09:04:05.678Z"
    [message] = queue.receive(limit=10, wait_s=0)
    assert (message.task_id, message.request_id) == (task.task_id, "retry-request")


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.LEASED, Phase.COMPLETED])
def test_a_task_that_has_not_failed_cannot_be_retried(
    api: Api, cloud: Cloud, clock: Clock, phase: Phase
) -> None:
    task = put_task(cloud, phase)
    clock.advance(timedelta(seconds=1))
    response = api.post(f"/tasks/{task.task_id}/retry")

    assert response.status_code == 409
    assert response.body["taskStatus"] == task.status
    assert cloud.messages()["queue"] == 0


def test_a_retry_that_cannot_be_queued_is_left_to_the_reconciler(
    make_api: MakeApi, cloud: Cloud, table: TaskTable, clock: Clock
) -> None:
    task = put_task(cloud, Phase.FAILED)
    response = make_api(queue=BrokenQueue()).post(f"/tasks/{task.task_id}/retry")

    assert (response.status_code, response.body["status"]) == (202, "PENDING")
    row = table.get(task.task_id)
    assert row is not None
    assert (row.unsent, row.check_at) == (True, clock.now)


def test_a_task_whose_row_expires_during_a_cancel_is_not_found(
    make_api: MakeApi, cloud: Cloud, table: TaskTable
) -> None:
    task = put_task(cloud, Phase.PENDING)

    class ExpiresAfterGet(TaskTable):
        def get(self, task_id: str) -> Task | None:
            row = super().get(task_id)
            cloud.dynamodb.delete_item(
                TableName=cloud.resources.task_table, Key={"taskId": {"S": task_id}}
            )
            return row

    expiring = ExpiresAfterGet(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
    )
    assert make_api(table=expiring).post(f"/tasks/{task.task_id}/cancel").status_code == 404
    assert table.get(task.task_id) is None
