"""Responses that the server builds without the application."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from services.api import error_responses, security_headers
from services.api.request_id import HEADER
from services.api.schemas import HealthView

NO_HEADERS: Final[Mapping[str, str]] = {}


def healthy(*, request_id: str) -> bytes:
    """The response of ``GET /healthz``. The route in the application sends the same."""
    body = HealthView().model_dump_json()
    return _response(HTTPStatus.OK, "application/json", body, request_id, NO_HEADERS)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    request_id: str,
    headers: Mapping[str, str] = NO_HEADERS,
) -> bytes:
    """A problem document."""
    body = error_responses.problem(status, code, detail, request_id=request_id)
    return _response(status, error_responses.MEDIA_TYPE, body, request_id, headers)


def _response(
    status: HTTPStatus, media_type: str, body: str, request_id: str, headers: Mapping[str, str]
) -> bytes:
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(content)}",
        "Connection: close",
        f"{HEADER}: {request_id}",
        *(f"{name}: {value}" for name, value in (*security_headers.HEADERS, *headers.items())),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content
