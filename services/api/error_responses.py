"""Error responses as problem documents (RFC 9457), without internal details.

Programs should use `code`, which is stable. `detail` is for people and may change.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from services.api.http_errors import (
    ApiError,
    FieldError,
    InvalidRequest,
    MalformedJson,
    NotReady,
    SubmissionsBusy,
    SubmissionsLimited,
    TaskStateConflict,
    Unauthorized,
)
from services.api.request_id import current_request_id
from services.common.errors import AwsError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

AWS_RETRY_AFTER_S = 5
"""boto3 has already retried, so an immediate retry by the client would not help."""

BUSY_RETRY_AFTER_S = 5
"""A dependency that hangs holds a thread for about this long."""

MAX_FIELD_ERRORS = 20
MAX_TEXT_LENGTH = 300
"""In characters. Field names and messages may repeat what the client sent."""

HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    500: "internal_error",
}
"""Codes of errors that werkzeug raises. Errors of ours have their own."""


class Problem(BaseModel):
    """An error (RFC 9457). Programs should use `code`; `detail` is for people and may change."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[FieldError] | None = None
    """With `invalid_request`: one entry for each invalid field."""
    task_status: str | None = None
    """With `task_state_conflict`: the status of the task."""
    failing: list[str] | None = None
    """With status 503: the dependencies that do not respond."""


def install(app: Flask) -> None:
    app.register_error_handler(ApiError, _handle_api_error)
    app.register_error_handler(AwsError, _handle_aws_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_bug)


def problem(status: int, code: str, detail: str, *, request_id: str, **more: Any) -> str:
    """The document as JSON."""
    return Problem(
        type=f"urn:taskfleet:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        **more,
    ).model_dump_json(by_alias=True, exclude_none=True)


def invalid_request(invalid: ValidationError) -> InvalidRequest | MalformedJson:
    """The API error for a validation error of pydantic."""
    errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        # The standard library accepts deeper nesting, and half of a surrogate pair.
        return MalformedJson("The body is nested too deeply or has invalid Unicode.")
    return InvalidRequest(
        [
            FieldError(_path(error["loc"]), _truncate(error["msg"]))
            for error in errors[:MAX_FIELD_ERRORS]
        ]
    )


def _path(location: tuple[int | str, ...]) -> str:
    """``operations.0.width`` for (operations, 0, resize, width). ``body`` for the whole body."""
    match location:
        case ("operations", int(position), _, *parameter):
            location = ("operations", position, *parameter)
    return _truncate(".".join(map(str, location))) or "body"


def _truncate(text: str) -> str:
    text = text.removeprefix("Value error, ")  # pydantic's prefix for a ValueError
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"


def _handle_api_error(error: ApiError) -> Response:
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}
    match error:
        case InvalidRequest():
            more["errors"] = list(error.errors)
        case TaskStateConflict():
            more["task_status"] = error.status
        case Unauthorized():
            headers["WWW-Authenticate"] = 'Bearer realm="taskfleet"'
        case NotReady():
            more["failing"] = list(error.failing)
        case SubmissionsBusy():
            headers["Retry-After"] = str(BUSY_RETRY_AFTER_S)
        case SubmissionsLimited():
            headers["Retry-After"] = str(error.retry_after_s)
    detail = "Some fields are not valid." if isinstance(error, InvalidRequest) else str(error)
    return _response(error.http_status, error.code, detail, headers=headers, **more)


def _handle_aws_error(error: AwsError) -> Response:
    log.error("dependency failed", code=error.code, reason=str(error), exc_info=error)
    dependency = error.code.removesuffix("_unavailable")
    return _response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        error.code,
        f"The {dependency} does not respond. Try again later.",
        headers={"Retry-After": str(AWS_RETRY_AFTER_S)},
        failing=[dependency],
    )


def _handle_http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    code = HTTP_CODES.get(status, "http_error")
    return _response(status, code, error.description or "", headers=headers)


def _handle_bug(bug: Exception) -> Response:
    # Flask's own log line would contain the raw path.
    log.error("unexpected error", exc_info=bug)
    return _handle_http_error(InternalServerError())


def _response(
    status: int, code: str, detail: str, *, headers: Mapping[str, str], **more: Any
) -> Response:
    body = problem(status, code, detail, request_id=current_request_id(), **more)
    return Response(body, status, headers, content_type=MEDIA_TYPE)
