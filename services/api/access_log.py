"""One line for every request: what was asked and how it ended, without any query string."""

import time

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds by the load balancer; only worth a line when they fail."""


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = time.perf_counter()


def _end(response: Response) -> Response:
    if response.status_code < 400 and request.path in HEALTH_PATHS:  # noqa: PLR2004 - RFC 9110 §15
        return response
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
    )
    return response
