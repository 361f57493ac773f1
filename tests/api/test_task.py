"""GET /tasks/{taskId} and its result: what a client sees of a task."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from services.common.result_bucket import ResultBucket
from services.common.task import Phase
from tests.api.conftest import Api
from tests.api.rows import put_task
from tests.conftest import Clock, Cloud
from tests.tasks import NOW, RESULT

OPEN = [Phase.PENDING, Phase.LEASED, Phase.ABANDONED, Phase.RETRYING]
OVER = [Phase.COMPLETED, Phase.FAILED, Phase.CANCELED]
WITHOUT_RESULT = [*OPEN, Phase.FAILED, Phase.CANCELED]


def test_a_completed_task_says_where_its_image_is(
    api: Api, cloud: Cloud, bucket: ResultBucket
) -> None:
    bucket.put(RESULT.key, b"a gray image", content_type="image/png")
    task = put_task(cloud, Phase.COMPLETED, started_at=NOW, finished_at=NOW)

    answer = api.get(f"/tasks/{task.task_id}")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body["status"] == "COMPLETED"
    assert answer.body["result"] == {
        "contentType": "image/png",
        "bytes": 123,
        "width": 4,
        "height": 3,
        "sha256": "ab" * 32,
    }
    query = parse_qs(urlsplit(answer.body["resultUrl"]).query)
    assert query["X-Amz-Expires"] == ["600"]
    assert query["response-content-type"] == ["image/png"]
    [disposition] = query["response-content-disposition"]
    assert disposition.startswith("attachment; ")
    assert RESULT.key in answer.body["resultUrl"]


def test_nothing_of_the_inner_workings_is_shown(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.LEASED)

    assert api.get(f"/tasks/{task.task_id}").body.keys() == {
        "taskId",
        "status",
        "willRetry",
        "inputImageUrl",
        "operations",
        "createdAt",
        "updatedAt",
        "deadlineAt",
        "attempt",
        "attemptLimit",
    }


def test_a_failure_says_why_and_whether_another_attempt_follows(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.RETRYING, failure_reason="The server answered 503.")
    seen = api.get(f"/tasks/{task.task_id}").body

    assert (seen["status"], seen["willRetry"]) == ("FAILED", True)
    assert seen["failureCode"] == "source_unavailable"
    assert seen["failureReason"] == "The server answered 503."


@pytest.mark.parametrize("phase", OPEN)
def test_an_open_task_says_when_to_ask_again(api: Api, cloud: Cloud, phase: Phase) -> None:
    assert api.get(f"/tasks/{put_task(cloud, phase).task_id}").headers["Retry-After"] == "1"


@pytest.mark.parametrize("phase", OVER)
def test_a_task_that_is_over_does_not_ask_to_come_again(
    api: Api, cloud: Cloud, phase: Phase
) -> None:
    assert "Retry-After" not in api.get(f"/tasks/{put_task(cloud, phase).task_id}").headers


@pytest.mark.parametrize(
    ("waited", "retry_after"),
    [(timedelta(seconds=45), "5"), (timedelta(minutes=2), "12"), (timedelta(hours=2), "30")],
)
def test_who_waits_long_is_told_to_ask_less_often(
    api: Api, cloud: Cloud, clock: Clock, waited: timedelta, retry_after: str
) -> None:
    task = put_task(cloud, Phase.PENDING)
    clock.advance(waited)

    assert api.get(f"/tasks/{task.task_id}").headers["Retry-After"] == retry_after


def test_the_result_redirects_to_where_it_is(api: Api, cloud: Cloud) -> None:
    answer = api.get(f"/tasks/{put_task(cloud, Phase.COMPLETED).task_id}/result")

    assert answer.status_code == 307
    assert RESULT.key in answer.headers["Location"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("phase", WITHOUT_RESULT)
def test_without_a_result_the_status_says_why(api: Api, cloud: Cloud, phase: Phase) -> None:
    task = put_task(cloud, phase)
    answer = api.get(f"/tasks/{task.task_id}/result")

    assert answer.status_code == 409
    assert answer.body["code"] == "task_state_conflict"
    assert answer.body["taskStatus"] == task.status


def test_a_result_past_its_time_is_gone(api: Api, cloud: Cloud, clock: Clock) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    clock.now = task.expires_at

    assert api.get(f"/tasks/{task.task_id}/result").status_code == 410
    assert "resultUrl" not in api.get(f"/tasks/{task.task_id}").body


def test_a_result_is_there_until_its_time_has_come(api: Api, cloud: Cloud, clock: Clock) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    clock.now = task.expires_at - timedelta(milliseconds=1)

    assert api.get(f"/tasks/{task.task_id}/result").status_code == 307
