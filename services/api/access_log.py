"""One line for every request: what was asked and how it ended.

It names the route and the task, never the path as it was sent: what was put there by mistake, a key
or an image's URL for instance, stays out of the log.
"""

import time

import structlog
from flask import Flask, Response, g, request

from services.common.task import is_task_id

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
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
        **_task(),
    )
    return response


def _task() -> dict[str, str]:
    task_id = (request.view_args or {}).get("taskId", "")
    return {"task_id": task_id} if is_task_id(task_id) else {}
