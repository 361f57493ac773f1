"""Submissions that are refused: a 4xx that says why, and no trace of a task."""

from typing import Any

import pytest

from tests.flow.flow import Flow

URL = "https://example.com/image.png"


@pytest.mark.parametrize(
    ("submission", "field"),
    [
        ({}, "inputImageUrl"),
        ({"inputImageUrl": "ftp://example.com/image.png"}, "inputImageUrl"),
        ({"inputImageUrl": f"{URL}?{'x' * 5_000}"}, "inputImageUrl"),
        ({"inputImageUrl": 7}, "inputImageUrl"),
        ({"inputImageUrl": URL, "operations": [{"name": "explode"}]}, "operations.0"),
        (
            {"inputImageUrl": URL, "operations": [{"name": "rotate", "degrees": "90"}]},
            "operations.0",
        ),
        ({"inputImageUrl": URL, "surprise": True}, "surprise"),
    ],
    ids=["no URL", "not http", "over-long", "no text", "unknown", "wrong type", "unknown field"],
)
def test_an_invalid_submission_is_refused_by_the_name_of_its_field(
    steady: Flow, submission: dict[str, Any], field: str
) -> None:
    rows = steady.rows()
    answer = steady.client.submit(submission)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert any(error["field"].startswith(field) for error in answer.body["errors"]), answer.body
    assert steady.rows() == rows


def test_a_body_that_is_too_large_is_refused(steady: Flow) -> None:
    rows = steady.rows()
    answer = steady.client.submit({"inputImageUrl": URL, "padding": "x" * 2_000_000})
    assert answer.status == 413
    assert steady.rows() == rows


def test_a_body_that_is_no_json_is_refused(steady: Flow) -> None:
    rows = steady.rows()
    answer = steady.client.request("POST", "/tasks", body=b'{"inputImageUrl": ')
    assert (answer.status, answer.body["code"]) == (400, "malformed_json")
    assert steady.rows() == rows


def test_an_unknown_task_is_not_found(steady: Flow) -> None:
    answer = steady.client.get_task("6e1f7a4e-0000-4000-8000-000000000001")
    assert (answer.status, answer.body["code"]) == (404, "task_not_found")
