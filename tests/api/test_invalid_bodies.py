"""POST /tasks with invalid bodies: the error response, and no row and no message."""

import gzip
import io
import json
from typing import Any

import pytest

from tests.api.conftest import URL, Api, ApiResponse
from tests.conftest import Cloud


def submit_raw(api: Api, body: bytes, content_type: str | None = "application/json") -> ApiResponse:
    return api.post("/tasks", data=body, content_type=content_type)


def with_operations(*operations: Any) -> dict[str, Any]:
    return {"inputImageUrl": URL, "operations": list(operations)}


INVALID_FIELDS: dict[str, tuple[Any, dict[str, str]]] = {
    "no URL": ({}, {"inputImageUrl": "required"}),
    "empty URL": ({"inputImageUrl": ""}, {"inputImageUrl": "at least 1 character"}),
    "not http": (
        {"inputImageUrl": "ftp://example.com/a"},
        {"inputImageUrl": "http:// or https://"},
    ),
    "too long": (
        {"inputImageUrl": f"{URL}?{'x' * 8192}"},
        {"inputImageUrl": "at most 8192 characters"},
    ),
    "URL with NUL": ({"inputImageUrl": f"{URL}\0"}, {"inputImageUrl": "control characters"}),
    "URL with a newline": ({"inputImageUrl": f"{URL}\n"}, {"inputImageUrl": "control characters"}),
    "URL of the wrong type": ({"inputImageUrl": 7}, {"inputImageUrl": "valid string"}),
    "unknown field": (
        {"inputImageUrl": URL, "inputimageurl": URL},
        {"inputimageurl": "not permitted"},
    ),
    "snake_case name": (
        {"inputImageUrl": URL, "input_image_url": URL},
        {"input_image_url": "not permitted"},
    ),
    "unknown operation": (
        with_operations({"name": "sharpen"}),
        {"operations.0": "'convert', 'grayscale', 'resize', 'rotate'"},
    ),
    "unnamed operation": (with_operations({"width": 4}), {"operations.0": "'name'"}),
    "string for a number": (
        with_operations({"name": "resize", "width": "400"}),
        {"operations.0.width": "valid integer"},
    ),
    "fraction for an integer": (
        with_operations({"name": "resize", "width": 400.5}),
        {"operations.0.width": "valid integer"},
    ),
    "huge number": (
        with_operations({"name": "resize", "width": 10**40}),
        {"operations.0.width": "less than or equal to"},
    ),
    "boolean for a number": (
        with_operations({"name": "resize", "width": True}),
        {"operations.0.width": "valid integer"},
    ),
    "value not allowed": (
        with_operations({"name": "rotate", "degrees": 45}),
        {"operations.0.degrees": "90, 180 or 270"},
    ),
    "unknown parameter": (
        with_operations({"name": "grayscale", "strength": 2}),
        {"operations.0.strength": "not permitted"},
    ),
    "missing parameters": (
        with_operations({"name": "resize"}),
        {"operations.0": "give width, height or both"},
    ),
    "no operations": (with_operations(), {"operations": "at least 1 item"}),
    "too many operations": (
        with_operations(*[{"name": "grayscale"}] * 11),
        {"operations": "at most 10 items"},
    ),
    "operations of the wrong type": (
        {"inputImageUrl": URL, "operations": "grayscale"},
        {"operations": "valid array"},
    ),
    "unknown format": (
        {"inputImageUrl": URL, "output": {"format": "psd"}},
        {"output.format": "'jpeg', 'png'"},
    ),
    "two formats": (
        {**with_operations({"name": "convert", "format": "png"}), "output": {"format": "jpeg"}},
        {"output": "jpeg and png"},
    ),
    "several errors": (
        {"inputImageUrl": "ftp://a", "output": {"quality": 101}, "foo": 1},
        {"inputImageUrl": "http://", "output.quality": "100", "foo": "not permitted"},
    ),
    "an array": ([], {"body": "object"}),
    "a string": ("https://example.com", {"body": "object"}),
    "null": (None, {"body": "object"}),
}


@pytest.mark.parametrize("case", INVALID_FIELDS)
def test_an_invalid_field_is_named_with_what_is_allowed(api: Api, cloud: Cloud, case: str) -> None:
    body, expected = INVALID_FIELDS[case]
    response = submit_raw(api, json.dumps(body).encode())

    assert response.status_code == 400
    assert response.body["code"] == "invalid_request"
    messages = {error["field"]: error["message"] for error in response.body["errors"]}
    assert messages.keys() == expected.keys()
    for field, text in expected.items():
        assert text in messages[field]
    assert_nothing_was_left(cloud)


MALFORMED = {
    "empty": b"",
    "half an object": b'{"inputImageUrl": ',
    "trailing data": b'{"inputImageUrl": "https://example.com"} {}',
    "duplicate name": b'{"inputImageUrl": "https://a.example", "inputImageUrl": "https://b.example"}',
    "nested duplicate name": b'{"output": {"quality": 1, "quality": 2}}',
    "NaN": b'{"output": {"quality": NaN}}',
    "infinity": b'{"output": {"quality": -Infinity}}',
    "a number of 5,000 digits": b'{"output": {"quality": %s}}' % (b"9" * 5000),
    "not UTF-8": b'{"inputImageUrl": "https://example.com/\xff"}',
    "UTF-16": json.dumps({"inputImageUrl": URL}).encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"inputImageUrl": "https://example.com/"}',
    "half a surrogate pair": b'{"inputImageUrl": "https://example.com/\\ud800"}',
    "a raw control character": b'{"inputImageUrl": "https://example.com/\x00"}',
    "unclosed deep nesting": b"[" * 50_000,
    "closed deep nesting": b"[" * 500 + b"]" * 500,
    "deeply nested objects": b'{"a":' * 10_000,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_or_ambiguous_json_is_rejected(api: Api, cloud: Cloud, case: str) -> None:
    response = submit_raw(api, MALFORMED[case])

    assert response.status_code == 400
    assert response.body["code"] == "malformed_json"
    assert_nothing_was_left(cloud)


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"],
)
def test_another_content_type_is_rejected(api: Api, cloud: Cloud, content_type: str | None) -> None:
    response = submit_raw(api, json.dumps({"inputImageUrl": URL}).encode(), content_type)

    assert response.status_code == 415
    assert response.body["code"] == "unsupported_media_type"
    assert_nothing_was_left(cloud)


def test_a_compressed_body_is_rejected(api: Api) -> None:
    response = api.post(
        "/tasks",
        data=gzip.compress(json.dumps({"inputImageUrl": URL}).encode()),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 415


def test_a_body_over_the_size_limit_is_rejected(api: Api, cloud: Cloud) -> None:
    response = submit_raw(api, json.dumps({"inputImageUrl": "x" * 65_536}).encode())

    assert response.status_code == 413
    assert response.body["code"] == "body_too_large"
    assert_nothing_was_left(cloud)


def test_a_chunked_body_over_the_size_limit_is_not_truncated(api: Api, cloud: Cloud) -> None:
    valid_up_to_the_limit = json.dumps({"inputImageUrl": URL}).encode() + b" " * 65_536
    response = api.post(
        "/tasks",
        input_stream=io.BytesIO(valid_up_to_the_limit),
        environ_overrides={"wsgi.input_terminated": True},  # as gunicorn says of chunks
        content_type="application/json",
    )

    assert response.status_code == 413
    assert_nothing_was_left(cloud)


def test_the_number_of_reported_field_errors_is_bounded(api: Api) -> None:
    unknown = {f"{number}{'x' * 100}": number for number in range(49)}
    response = api.submit(with_operations(*[{"name": "grayscale", **unknown}] * 10))

    assert response.status_code == 400
    assert len(response.body["errors"]) == 20
    assert len(response.data) < 20_000


def test_a_body_with_very_many_members_is_rejected_before_validation(
    api: Api, cloud: Cloud
) -> None:
    unknown = {str(number): number for number in range(51)}
    response = api.submit(with_operations({"name": "grayscale", **unknown}))

    assert response.status_code == 400
    assert response.body["errors"] == [
        {"field": "body", "message": "Has an object with more than 50 members"}
    ]
    assert_nothing_was_left(cloud)


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "café"])
def test_an_invalid_idempotency_key_is_rejected(api: Api, cloud: Cloud, key: str) -> None:
    response = api.submit(headers={"Idempotency-Key": key})

    assert response.status_code == 400
    assert response.body["errors"][0]["field"] == "Idempotency-Key"
    assert_nothing_was_left(cloud)


def assert_nothing_was_left(cloud: Cloud) -> None:
    assert cloud.dynamodb.scan(TableName=cloud.resources.task_table)["Count"] == 0
    assert cloud.messages()["queue"] == 0
