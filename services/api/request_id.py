"""The request id, which appears in every log line of a request and of its task."""

import re
import secrets

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-Id"

_VALID = re.compile(r"[A-Za-z0-9_:=-]{1,128}")
"""Safe in log lines and headers. UUIDs and AWS trace ids match. An API key sent in the wrong header
does not, because it contains a dot."""


def current_request_id() -> str:
    return str(g.request_id)


def new_request_id() -> str:
    return secrets.token_hex(16)


def accept(sent: str) -> str:
    """The client's own id if it is valid, else a new one."""
    return sent if _VALID.fullmatch(sent) else new_request_id()


def install(app: Flask) -> None:
    """Assign an id to every request, the client's own if valid, and return it in every response."""
    app.before_request(_assign)
    app.after_request(_set_header)


def _assign() -> None:
    g.request_id = accept(request.headers.get(HEADER, ""))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _set_header(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    return response
