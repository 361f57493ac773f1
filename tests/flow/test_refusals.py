"""Invalid requests get a 4xx with the reason and create no task."""

from typing import Any

import pytest

from services.common.source_url import MAX_LENGTH
from tests.flow.system import DeployedSystem

URL = "https://example.com/image.png"


@pytest.mark.parametrize(
    ("submission", "field"),
    [
        ({}, "inputImageUrl"),
        ({"inputImageUrl": "ftp://example.com/image.png"}, "inputImageUrl"),
        ({"inputImageUrl": f"{URL}?{'x' * MAX_LENGTH}"}, "inputImageUrl"),
        ({"inputImageUrl": 7}, "inputImageUrl"),
        ({"inputImageUrl": URL, "operations": [{"name": "explode"}]}, "operations.0"),
        (
            {"inputImageUrl": URL, "operations": [{"name": "rotate", "degrees": "90"}]},
            "operations.0",
        ),
        ({"inputImageUrl": URL, "surprise": True}, "surprise"),
    ],
    ids=[
        "no URL",
        "not HTTP",
        "URL too long",
        "URL is a number",
        "unknown operation",
        "wrong parameter type",
        "unknown field",
    ],
)
def test_an_invalid_submission_is_rejected_with_the_name_of_the_field(
    system: DeployedSystem, submission: dict[str, Any], field: str
) -> None:
    rows = system.row_count()
    response = system.client.submit(submission)
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert any(error["field"].startswith(field) for error in response.body["errors"]), response.body
    assert system.row_count() == rows


def test_a_body_that_is_too_large_is_rejected(system: DeployedSystem) -> None:
    rows = system.row_count()
    response = system.client.submit({"inputImageUrl": URL, "padding": "x" * 2_000_000})
    assert response.status == 413
    assert system.row_count() == rows


def test_a_body_that_is_not_json_is_rejected(system: DeployedSystem) -> None:
    rows = system.row_count()
    response = system.client.request("POST", "/tasks", body=b'{"inputImageUrl": ')
    assert (response.status, response.body["code"]) == (400, "malformed_json")
    assert system.row_count() == rows


def test_an_unknown_task_is_not_found(system: DeployedSystem) -> None:
    response = system.client.get_task("6e1f7a4e-0000-4000-8000-000000000001")
    assert (response.status, response.body["code"]) == (404, "task_not_found")
