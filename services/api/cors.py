"""Lets pages of allowed origins call the API from a browser (the Fetch standard's CORS protocol).

Requests carry their API key in a header and never use cookies.
"""

from collections.abc import Collection
from functools import partial
from http import HTTPStatus

from flask import Flask, Response, request

ALLOWED_METHODS = "DELETE, GET, POST"
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id"
EXPOSED_HEADERS = (
    "Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
)
"""Response headers that a page may read besides the safelisted ones."""
MAX_AGE_S = 7_200
"""How long a browser may reuse a preflight. Chromium's maximum ("Access-Control-Max-Age", MDN)."""


def install(app: Flask, *, origins: Collection[str]) -> None:
    """Allow `origins`, such as ``https://shop.example``. Without any, no header is sent."""
    if origins:
        app.before_request(partial(_answer_preflight, origins))
        app.after_request(partial(_add_headers, origins))


def _answer_preflight(origins: Collection[str]) -> Response | None:
    """Browsers send no API key with a preflight, so it must be answered before authentication."""
    if request.method != "OPTIONS" or request.access_control_request_method is None:
        return None
    if request.origin not in origins:
        return None
    headers = {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
    return Response(status=HTTPStatus.NO_CONTENT, headers=headers)


def _add_headers(origins: Collection[str], response: Response) -> Response:
    response.vary.add("Origin")
    if request.origin in origins:
        response.headers["Access-Control-Allow-Origin"] = str(request.origin)
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    return response
