"""POST /tasks: the row, the message and the response."""

import json
from datetime import timedelta
from typing import Any

import pytest
import structlog

from services.api.app import SEND_FAILURES, SEND_PAUSE_S
from services.api.schemas import Submission
from services.common.errors import QueueUnavailable, TableUnavailable
from services.common.operations import Resize
from services.common.task import Phase, Status, Task, task_id_for
from services.common.task_queue import Envelope, TaskQueue
from services.common.task_table import TaskTable
from services.common.telemetry import Metric
from tests.api.conftest import ALICE, BOB, URL, Api, MakeApi
from tests.api.rows import put_task
from tests.broken_aws import BrokenQueue, BrokenTable
from tests.clocks import MonotonicClock
from tests.conftest import Clock, Cloud

RECIPE = {
    "inputImageUrl": URL,
    "operations": [{"name": "resize", "width": 400}, {"name": "grayscale"}],
    "output": {"format": "webp", "quality": 70},
}


def rows(cloud: Cloud) -> int:
    return cloud.dynamodb.scan(TableName=cloud.resources.task_table)["Count"]


def test_a_url_alone_is_queued_as_a_grayscale_task(
    api: Api, table: TaskTable, queue: TaskQueue, clock: Clock
) -> None:
    response = api.submit(headers={"X-Request-Id": "request-7"})

    assert response.status_code == 201
    task_id = response.body["taskId"]
    assert response.headers["Location"] == f"/tasks/{task_id}"
    assert response.body == {
        "taskId": task_id,
        "status": "PENDING",
        "willRetry": False,
        "inputImageUrl": URL,
        "operations": [{"name": "grayscale"}],
        "createdAt": "2026-01-02T03:04:05.678Z",
        "updatedAt": "2026-01-02T03:04:05.678Z",
        "deadlineAt": "2026-01-03T03:04:05.678Z",
        "attempt": 0,
        "final": False,
    }
    row = table.get(task_id)
    assert row is not None
    assert (row.owner, row.request_id) == ("alice", "request-7")
    assert row.check_at == clock.now + timedelta(minutes=15)
    [message] = queue.receive(limit=10, wait_s=0)
    assert (message.task_id, message.request_id) == (task_id, "request-7")


def test_the_page_and_the_handling_of_damage_are_recorded(api: Api, table: TaskTable) -> None:
    response = api.submit({"inputImageUrl": URL, "page": 3, "damaged": "keep"})
    assert (response.body["page"], response.body["damaged"]) == (3, "keep")
    row = table.get(response.body["taskId"])
    assert row is not None
    assert row.recipe["page"] == 3
    assert row.recipe["damaged"] == "keep"


@pytest.mark.parametrize(
    ("field", "value"), [("page", 0), ("page", 10_001), ("page", "1"), ("damaged", "repair")]
)
def test_another_page_or_handling_of_damage_is_rejected(
    api: Api, field: str, value: object
) -> None:
    response = api.submit({"inputImageUrl": URL, field: value})
    assert response.status_code == 400
    assert [error["field"] for error in response.body["errors"]] == [field]


def test_operations_and_output_are_recorded_as_given(api: Api, table: TaskTable) -> None:
    row = table.get(api.submit(RECIPE).body["taskId"])

    assert row is not None
    assert [operation["name"] for operation in row.operations] == ["resize", "grayscale"]
    assert row.operations[0]["width"] == 400
    assert row.output == {"format": "webp", "quality": 70}


def test_a_submission_is_counted_in_a_metric(api: Api) -> None:
    with structlog.testing.capture_logs() as entries:
        task_id = api.submit().body["taskId"]

    [counted] = [entry for entry in entries if "metrics" in entry]
    assert counted["metrics"] == {Metric.TASKS_SUBMITTED: 1}
    assert counted["task_id"] == task_id


def is_left_to_the_reconciler(row: Task | None, clock: Clock) -> bool:
    """Whether the reconciler's next run sends the task."""
    assert row is not None
    return (row.status, row.unsent, row.check_at) == (Status.PENDING, True, clock.now)


def test_a_task_that_cannot_be_queued_is_recorded_as_unsent(
    make_api: MakeApi, table: TaskTable, clock: Clock
) -> None:
    response = make_api(queue=BrokenQueue()).submit()

    assert response.status_code == 202
    assert response.headers["Location"] == f"/tasks/{response.body['taskId']}"
    assert is_left_to_the_reconciler(table.get(response.body["taskId"]), clock)


class FlakyQueue(TaskQueue):
    """Counts the sends. They fail while `is_down`."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud.sqs, url=cloud.resources.task_queue_url)
        self.is_down = True
        self.sends = 0

    def send(self, envelope: Envelope) -> None:
        self.sends += 1
        if self.is_down:
            raise QueueUnavailable("SendMessage: Timeout")
        super().send(envelope)


def test_while_the_queue_keeps_failing_tasks_are_recorded_without_a_send(
    make_api: MakeApi, cloud: Cloud, table: TaskTable, clock: Clock
) -> None:
    queue, monotonic = FlakyQueue(cloud), MonotonicClock()
    api = make_api(queue=queue, monotonic=monotonic)
    outcomes = [api.submit() for _ in range(20)]

    assert {outcome.status_code for outcome in outcomes} == {202}
    assert queue.sends == SEND_FAILURES
    assert all(
        is_left_to_the_reconciler(table.get(outcome.body["taskId"]), clock) for outcome in outcomes
    )


def test_sending_goes_on_after_a_probe_finds_the_queue_back(
    make_api: MakeApi, cloud: Cloud
) -> None:
    queue, monotonic = FlakyQueue(cloud), MonotonicClock()
    api = make_api(queue=queue, monotonic=monotonic)
    for _ in range(SEND_FAILURES):
        api.submit()
    queue.is_down = False

    assert api.submit().status_code == 202, "before the next probe"
    monotonic.advance(SEND_PAUSE_S)
    assert [api.submit().status_code for _ in range(3)] == [201, 201, 201]


def test_a_retry_while_the_queue_keeps_failing_is_recorded_without_a_send(
    make_api: MakeApi, cloud: Cloud, table: TaskTable, clock: Clock
) -> None:
    queue, monotonic = FlakyQueue(cloud), MonotonicClock()
    api = make_api(queue=queue, monotonic=monotonic)
    for _ in range(SEND_FAILURES):
        api.submit()
    task = put_task(cloud, Phase.FAILED)

    assert api.post(f"/tasks/{task.task_id}/retry").status_code == 202
    assert queue.sends == SEND_FAILURES
    assert is_left_to_the_reconciler(table.get(task.task_id), clock)


def test_a_task_is_acknowledged_even_if_it_cannot_be_recorded_as_unsent(
    make_api: MakeApi, cloud: Cloud, table: TaskTable
) -> None:
    class FailsAfterCreate(TaskTable):
        def record_unsent(self, *_: object, **__: object) -> bool:
            raise TableUnavailable("UpdateItem: Timeout")

    failing = FailsAfterCreate(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
    )
    response = make_api(queue=BrokenQueue(), table=failing).submit()

    assert response.status_code == 202
    assert table.get(response.body["taskId"]) is not None


def test_nothing_is_queued_before_its_row_is_written(make_api: MakeApi, cloud: Cloud) -> None:
    response = make_api(table=BrokenTable()).submit()

    assert response.status_code == 503
    assert cloud.messages()["queue"] == 0


def test_a_write_whose_response_was_lost_is_recognized(
    make_api: MakeApi, cloud: Cloud, queue: TaskQueue
) -> None:
    class CreatesTwice(TaskTable):
        """Acts like a write that succeeded, timed out, and was sent again by boto3."""

        def create(self, task: Task) -> Task:
            super().create(task)
            return super().create(task)

    doubling = CreatesTwice(
        cloud.dynamodb, table=cloud.resources.task_table, retention=timedelta(days=30)
    )
    response = make_api(table=doubling).submit(headers={"Idempotency-Key": "k"})

    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response.headers
    [message] = queue.receive(limit=10, wait_s=0)
    assert message.task_id == response.body["taskId"]


def test_a_repeat_with_the_same_key_returns_the_same_task(
    api: Api, cloud: Cloud, clock: Clock
) -> None:
    first = api.submit(RECIPE, headers={"Idempotency-Key": "order 66"})
    clock.advance(timedelta(minutes=5))
    again = api.submit(RECIPE, headers={"Idempotency-Key": "order 66"})

    assert again.status_code == 201
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert rows(cloud) == 1
    assert cloud.messages()["queue"] == 1


def test_a_repeat_is_recorded_as_unsent_in_case_the_first_was_never_queued(
    api: Api, table: TaskTable, clock: Clock
) -> None:
    task_id = api.submit(headers={"Idempotency-Key": "k"}).body["taskId"]
    clock.advance(timedelta(seconds=1))
    api.submit(headers={"Idempotency-Key": "k"})

    assert is_left_to_the_reconciler(table.get(task_id), clock)


def test_a_repeat_may_spell_out_the_defaults(api: Api) -> None:
    api.submit({"inputImageUrl": URL}, headers={"Idempotency-Key": "k"})
    for explicit in (
        {"operations": [{"name": "grayscale"}], "inputImageUrl": URL, "output": None},
        {"inputImageUrl": URL, "output": {}, "page": 1, "damaged": "refuse"},
    ):
        assert api.submit(explicit, headers={"Idempotency-Key": "k"}).status_code == 201


def test_a_repeat_may_be_made_after_an_upgrade_that_adds_parameters_with_defaults() -> None:
    class NewResize(Resize):
        kernel: str = "lanczos"

    class NewSubmission(Submission):
        operations: list[NewResize]  # type: ignore[assignment]
        urgency: int = 3

    body = {"inputImageUrl": URL, "operations": [{"name": "resize", "width": 4}]}
    before = Submission.model_validate_json(json.dumps(body))
    after = NewSubmission.model_validate_json(json.dumps(body))

    assert before.content_hash() == after.content_hash()
    urgent = NewSubmission.model_validate_json(json.dumps({**body, "urgency": 4}))
    assert urgent.content_hash() != before.content_hash()


@pytest.mark.parametrize(
    "other",
    [
        {"inputImageUrl": f"{URL}?other"},
        {"inputImageUrl": URL, "operations": [{"name": "rotate", "degrees": 90}]},
        {"inputImageUrl": URL, "operations": [{"name": "resize", "width": 4}]},
        {"inputImageUrl": URL, "operations": [{"name": "grayscale"}] * 2},
        {"inputImageUrl": URL, "output": {"quality": 9}},
        {"inputImageUrl": URL, "page": 2},
    ],
)
def test_every_part_of_a_submission_counts(other: dict[str, Any]) -> None:
    first = Submission.model_validate_json(json.dumps({"inputImageUrl": URL}))

    assert Submission.model_validate_json(json.dumps(other)).content_hash() != first.content_hash()


def test_a_different_submission_with_the_same_key_is_rejected(api: Api, table: TaskTable) -> None:
    first = api.submit(headers={"Idempotency-Key": "k"})
    other = api.submit({"inputImageUrl": f"{URL}?other"}, headers={"Idempotency-Key": "k"})

    assert other.status_code == 422
    assert other.body["code"] == "idempotency_key_reused"
    row = table.get(first.body["taskId"])
    assert row is not None
    assert row.input_image_url == URL


def test_two_clients_may_use_the_same_key(api: Api) -> None:
    tasks = {
        api.submit(headers={"Idempotency-Key": "k"}, key=key).body["taskId"] for key in (ALICE, BOB)
    }

    assert tasks == {task_id_for("alice", "k"), task_id_for("bob", "k")}


def test_submissions_without_a_key_are_separate_tasks(api: Api, cloud: Cloud) -> None:
    assert api.submit().body["taskId"] != api.submit().body["taskId"]
    assert rows(cloud) == 2
