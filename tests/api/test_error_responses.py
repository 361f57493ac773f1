"""Error responses are problem documents without internal details."""

from typing import Any

import pytest
import structlog

from services.common.task import Phase
from tests.api.conftest import Api, MakeApi
from tests.api.rows import put_task
from tests.broken_aws import BUG, REASON, BrokenBucket, BrokenTable, BuggyTable
from tests.conftest import Cloud

TASK = "/tasks/6e1f7a4e-0000-4000-8000-000000000001"

ERRORS: dict[str, tuple[str, str, int, str]] = {
    "unknown route": ("GET", "/nothing/here", 404, "not_found"),
    "double slash": ("GET", "/tasks//x", 404, "not_found"),
    "unknown route, another method": ("DELETE", "/nothing", 404, "not_found"),
    "method": ("PUT", "/tasks", 405, "method_not_allowed"),
    "method on a task": ("DELETE", TASK, 405, "method_not_allowed"),
    "OPTIONS": ("OPTIONS", "/tasks", 405, "method_not_allowed"),
    "TRACE": ("TRACE", "/healthz", 405, "method_not_allowed"),
    "task": ("GET", TASK, 404, "task_not_found"),
    "content type": ("POST", "/tasks", 415, "unsupported_media_type"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_a_problem_document(api: Api, case: str) -> None:
    method, path, status, code = ERRORS[case]
    response = api.call(method, path, headers={"X-Request-Id": "my-request"})

    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.body["status"] == status
    assert response.body["code"] == code
    assert response.body["type"] == f"urn:taskfleet:problem:{code}"
    assert response.body["requestId"] == response.headers["X-Request-Id"] == "my-request"
    assert response.body["title"]
    assert response.body["detail"]


def test_a_405_lists_the_allowed_methods(api: Api) -> None:
    assert api.call("PUT", "/tasks").headers["Allow"] == "POST"
    assert api.call("PUT", TASK).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("broken", "failing", "code"),
    [
        ({"table": BrokenTable()}, "table", "table_unavailable"),
        ({"bucket": BrokenBucket()}, "bucket", "bucket_unavailable"),
    ],
)
def test_an_unavailable_dependency_is_named_without_internal_details(
    make_api: MakeApi, cloud: Cloud, broken: dict[str, Any], failing: str, code: str
) -> None:
    task = put_task(cloud, Phase.COMPLETED)
    response = make_api(**broken).get(f"/tasks/{task.task_id}")

    assert response.status_code == 503
    assert (response.body["code"], response.body["failing"]) == (code, [failing])
    assert int(response.headers["Retry-After"]) > 0
    assert REASON not in response.text


def test_a_bug_is_logged_with_its_traceback_but_not_returned(
    make_api: MakeApi,
) -> None:
    with structlog.testing.capture_logs() as entries:
        response = make_api(table=BuggyTable()).get(TASK)

    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert response.body["code"] == "internal_error"
    assert BUG not in response.text
    assert "Traceback" not in response.text
    [bug] = [entry for entry in entries if entry["log_level"] == "error"]
    assert isinstance(bug["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize("path", ["/healthz", "/tasks", "/nothing", "/docs", TASK])
def test_every_response_has_security_headers(api: Api, path: str) -> None:
    headers = api.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert len(headers.get_all("Content-Security-Policy")) == 1
