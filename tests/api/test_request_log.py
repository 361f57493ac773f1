"""Request ids and the access log."""

from typing import Any

import pytest
import structlog

from tests.api.conftest import ALICE, URL, Api, MakeApi
from tests.broken_aws import BuggyTable

TASK_ID = "6e1f7a4e-0000-4000-8000-000000000001"
TASK = f"/tasks/{TASK_ID}"


def test_a_valid_request_id_is_kept(api: Api) -> None:
    response = api.get("/healthz", headers={"X-Request-Id": "1-67891233-abcdef012345678912345678"})

    assert response.headers["X-Request-Id"] == "1-67891233-abcdef012345678912345678"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, '{"a":1}', "é", ALICE])
def test_an_invalid_request_id_is_replaced(api: Api, sent: str) -> None:
    assigned = api.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"]

    assert assigned != sent
    assert len(assigned) == 32


def test_every_request_has_its_own_id(api: Api) -> None:
    ids = {api.get("/nothing").headers["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3


def test_a_request_is_logged_in_one_line_without_query_or_key(api: Api) -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as entries:
        response = api.get(f"{TASK}?token=in-the-query", headers={"X-Request-Id": "request-9"})

    [line] = [entry for entry in entries if entry["event"] == "request"]
    assert line["request_id"] == "request-9"
    assert (line["client"], line["key_id"]) == ("alice", "alice-1")
    assert (line["method"], line["status"]) == ("GET", response.status_code)
    assert (line["route"], line["task_id"]) == ("/tasks/<taskId>", TASK_ID)
    assert line["duration_ms"] >= 0
    assert "in-the-query" not in str(entries)
    assert ALICE.partition(".")[2] not in str(entries)


@pytest.mark.parametrize(
    "misplaced",
    [
        {"path": f"/tasks/{ALICE}"},
        {"path": f"/{ALICE}"},
        {"path": f"/tasks/{TASK_ID}/{ALICE}"},
        {"headers": {"X-Request-Id": ALICE}},
        {"headers": {"X-Api-Key": ALICE}},
        {"headers": {"Idempotency-Key": ALICE}},
        {"headers": {"Cookie": ALICE}},
        {"headers": {"Authorization": f"Basic {ALICE}"}, "key": None},
        {"headers": {"Authorization": ALICE}, "key": None},
        {"json": {"inputImageUrl": f"https://{ALICE}@example.com/"}},
        {"json": {"inputImageUrl": f"https://example.com/?{ALICE}"}},
        {"json": {"inputImageUrl": URL, ALICE: ALICE}},
        {"json": {"inputImageUrl": URL, "operations": [{"name": ALICE}]}},
        {"json": None, "data": ALICE, "content_type": ALICE},
    ],
)
@pytest.mark.parametrize("parts", [{}, {"table": BuggyTable()}], ids=["success", "bug"])
def test_a_misplaced_key_is_never_logged(
    make_api: MakeApi,
    caplog: pytest.LogCaptureFixture,
    parts: dict[str, Any],
    misplaced: dict[str, Any],
) -> None:
    api = make_api(**parts)
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as entries:
        for method in ("GET", "POST"):
            api.call(method, **{"path": "/tasks", "json": {"inputImageUrl": URL}, **misplaced})

    assert entries
    assert ALICE not in str(entries)
    assert ALICE not in caplog.text  # the logs of libraries such as Flask


def test_log_context_does_not_leak_into_the_next_request(api: Api) -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as entries:
        api.get(TASK)
        api.get("/nothing", key=None)

    assert "client" not in entries[-1]


def test_successful_health_checks_are_not_logged(api: Api) -> None:
    with structlog.testing.capture_logs() as entries:
        api.get("/healthz")
        api.get("/readyz")

    assert entries == []
