"""The id by which a request is followed through every log, to the worker's last line."""

import re
import secrets

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-Id"

_SANE = re.compile(r"[A-Za-z0-9_:=-]{1,128}")
"""What a log line and a header can carry unharmed; UUIDs and AWS trace ids are among it. An API key
in the wrong header is not: it has a dot."""


def current_request_id() -> str:
    return str(g.request_id)


def new_request_id() -> str:
    return secrets.token_hex(16)


def install(app: Flask) -> None:
    """Give every request an id, the caller's own when it is sane, and say it in every response."""
    app.before_request(_begin)
    app.after_request(_say)


def _begin() -> None:
    sent = request.headers.get(HEADER, "")
    g.request_id = sent if _SANE.fullmatch(sent) else new_request_id()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _say(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    return response
