"""GET /tasks/{taskId} and /tasks/{taskId}/result."""

from dataclasses import replace
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
FINAL = [Phase.COMPLETED, Phase.FAILED, Phase.CANCELED]
WITHOUT_RESULT = [*OPEN, Phase.FAILED, Phase.CANCELED]


def test_a_completed_task_has_a_presigned_result_url(
    api: Api, cloud: Cloud, bucket: ResultBucket
) -> None:
    bucket.put(RESULT.key, b"a gray image", content_type="image/png")
    task = put_task(cloud, Phase.COMPLETED, started_at=NOW, finished_at=NOW)

    response = api.get(f"/tasks/{task.task_id}")

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.body["status"] == "COMPLETED"
    assert response.body["result"] == {
        "contentType": "image/png",
        "bytes": 123,
        "width": 4,
        "height": 3,
        "sha256": "ab" * 32,
    }
    query = parse_qs(urlsplit(response.body["resultUrl"]).query)
    assert query["X-Amz-Expires"] == ["600"]
    assert query["response-content-type"] == ["image/png"]
    [disposition] = query["response-content-disposition"]
    assert disposition.startswith("attachment; ")
    assert RESULT.key in response.body["resultUrl"]


def test_a_task_exposes_no_internal_fields(api: Api, cloud: Cloud) -> None:
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
        "final",
    }


def test_a_completed_task_says_what_its_result_lacks(api: Api, cloud: Cloud) -> None:
    whole = put_task(cloud, Phase.COMPLETED)
    assert api.get(f"/tasks/{whole.task_id}").body["warnings"] == []
    damaged = put_task(cloud, Phase.COMPLETED, result=replace(RESULT, warnings=("Cut off.",)))
    assert api.get(f"/tasks/{damaged.task_id}").body["warnings"] == ["Cut off."]


def test_a_failed_task_says_why_and_whether_it_will_be_retried(api: Api, cloud: Cloud) -> None:
    task = put_task(cloud, Phase.RETRYING, failure_reason="The server answered 503.")
    seen = api.get(f"/tasks/{task.task_id}").body

    assert (seen["status"], seen["willRetry"]) == ("FAILED", True)
    assert seen["failureCode"] == "source_unavailable"
    assert seen["failureReason"] == "The server answered 503."


@pytest.mark.parametrize("phase", OPEN)
def test_an_open_task_has_a_retry_after_header(api: Api, cloud: Cloud, phase: Phase) -> None:
    assert api.get(f"/tasks/{put_task(cloud, phase).task_id}").headers["Retry-After"] == "1"


@pytest.mark.parametrize("phase", FINAL)
def test_a_final_task_has_no_retry_after_header(api: Api, cloud: Cloud, phase: Phase) -> None:
    assert "Retry-After" not in api.get(f"/tasks/{put_task(cloud, phase).task_id}").headers


@pytest.mark.parametrize(
    ("waited", "retry_after"),
    [(timedelta(seconds=45), "5"), (timedelta(minutes=2), "12"), (timedelta(hours=2), "30")],
)
def test_retry_after_grows_with_the_time_since_the_last_change(
    api: Api, cloud: Cloud, clock: Clock, waited: timedelta, retry_after: str
) -> None:
    task = put_task(cloud, Phase.PENDING)
    clock.advance(waited)

    assert api.get(f"/tasks/{task.task_id}").headers["Retry-After"] == retry_after


def test_the_result_redirects_to_its_presigned_url(api: Api, cloud: Cloud) -> None:
    response = api.get(f"/tasks/{put_task(cloud, Phase.COMPLETED).task_id}/result")

    assert response.status_code == 307
    assert RESULT.key in response.headers["Location"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("phase", WITHOUT_RESULT)
def test_a_task_without_a_result_gets_409_with_its_status(
    api: Api, cloud: Cloud, phase: Phase
) -> None:
    task = put_task(cloud, phase)
    response = api.get(f"/tasks/{task.task_id}/result")

    assert response.status_code == 409
    assert response.body["code"] == "task_state_conflict"
    assert response.body["taskStatus"] == task.status


def test_an_expired_result_is_gone(api: Api, cloud: Cloud, clock: Clock) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    clock.now = task.expires_at

    assert api.get(f"/tasks/{task.task_id}/result").status_code == 410
    assert "resultUrl" not in api.get(f"/tasks/{task.task_id}").body


def test_a_result_is_served_until_it_expires(api: Api, cloud: Cloud, clock: Clock) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    clock.now = task.expires_at - timedelta(milliseconds=1)

    assert api.get(f"/tasks/{task.task_id}/result").status_code == 307
