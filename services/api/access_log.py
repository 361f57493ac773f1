"""The access log: one line for each request.

A line names the route and the task, never the raw path. A client may have put a key or an image's
URL there by mistake, and these must not be logged.
"""

import time

import structlog
from flask import Flask, Response, g, request

from services.common.task import is_task_id

log = structlog.get_logger()

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Called every few seconds by the load balancer. Logged only if they fail."""


def install(app: Flask) -> None:
    app.before_request(_start)
    app.after_request(_log)


def _start() -> None:
    g.started = time.perf_counter()


def _log(response: Response) -> Response:
    if response.status_code < 400 and request.path in HEALTH_PATHS:  # noqa: PLR2004 - RFC 9110 §15
        return response
    log.info(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
        **_task(),
    )
    return response


def _task() -> dict[str, str]:
    task_id = (request.view_args or {}).get("taskId", "")
    return {"task_id": task_id} if is_task_id(task_id) else {}
