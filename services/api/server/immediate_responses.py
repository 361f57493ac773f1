"""Responses of the server's main loop, which needs no request thread for them."""

from http import HTTPStatus

import structlog

from services.api.request_id import accept, new_request_id
from services.api.server import raw_response
from services.api.server.health_request import is_health_request, sent_request_id
from services.api.server.request_progress import RequestProgress

log = structlog.get_logger()

STALL_S = 60
"""A process is unhealthy when requests wait and no thread has finished one for this long. No
request may take half as long."""
OVERLOAD_RETRY_AFTER_S = 5


class ImmediateResponses:
    """Answers health checks always, and every request while `max_waiting` others await a thread.

    More would wait longer than their clients do, and hold connections that health checks need.
    """

    def __init__(self, progress: RequestProgress, *, max_waiting: int) -> None:
        self._progress = progress
        self._max_waiting = max_waiting

    def response_to(self, request: bytes) -> bytes | None:
        """The response to a request of which `request` has arrived, or None for a thread's."""
        if is_health_request(request):
            return self._health(accept(sent_request_id(request)))
        if self._progress.waiting >= self._max_waiting:
            return _overloaded()
        return None

    def _health(self, request_id: str) -> bytes:
        if not self._progress.is_stalled():
            return raw_response.healthy(request_id=request_id)
        log.error("request threads stalled", request_id=request_id)
        return raw_response.problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "stalled",
            f"Requests wait, and none has finished for {STALL_S} s.",
            request_id=request_id,
        )


def _overloaded() -> bytes:
    request_id = new_request_id()
    log.warning("request rejected", code="overloaded", request_id=request_id)
    return raw_response.problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "overloaded",
        "Too many requests wait. Try again later.",
        request_id=request_id,
        headers={"Retry-After": str(OVERLOAD_RETRY_AFTER_S)},
    )
