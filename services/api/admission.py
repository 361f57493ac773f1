"""Admits submissions before their bodies are parsed: by free threads, then by the client's limit.

Every view that submits is marked with `submits`.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, Response, current_app, g, request

from services.api.auth import current_caller
from services.api.http_errors import SubmissionsBusy, SubmissionsLimited
from services.api.json_request import JsonRequest
from services.api.submission_limiter import BYTES_PER_CHARGE, WINDOW, Quota, SubmissionLimiter

View = TypeVar("View", bound=Callable[..., Any])

_MARK = "submits"


def submits(view: View) -> View:
    """Mark a view that creates or retries tasks."""
    setattr(view, _MARK, True)
    return view


class Admission:
    """`threads` is the number of requests of this process that may be submissions at once.

    Submissions call the table and the queue. When one of these hangs, the other threads still serve
    the remaining routes.
    """

    def __init__(self, *, threads: int, limiter: SubmissionLimiter) -> None:
        self._slots = threading.BoundedSemaphore(threads)
        self._limiter = limiter

    def install(self, app: Flask) -> None:
        """Call this after the authenticator is installed, because the limit is per client."""
        app.before_request(self._admit)
        app.teardown_request(self._leave)
        app.after_request(_add_quota)

    def _admit(self) -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if not getattr(view, _MARK, False):
            return
        # A slow client must not hold a slot, so the body comes first.
        body = cast("JsonRequest", request).whole_body()
        if not self._slots.acquire(blocking=False):
            raise SubmissionsBusy
        g.submission_slot = self._slots
        amount = 1 + len(body) // BYTES_PER_CHARGE
        try:
            g.quota = self._limiter.take(current_caller().client, amount=amount)
        except SubmissionsLimited as limited:
            g.quota = Quota(limited.limit, 0, limited.retry_after_s)
            raise

    def _leave(self, _: BaseException | None) -> None:
        slot: threading.BoundedSemaphore | None = g.pop("submission_slot", None)
        if slot is not None:
            slot.release()


def _add_quota(response: Response) -> Response:
    """The headers of "RateLimit header fields for HTTP", an IETF draft (revision 11)."""
    quota: Quota | None = g.get("quota")
    if quota is not None:
        response.headers["RateLimit-Policy"] = f'"default";q={quota.limit};w={WINDOW.seconds}'
        response.headers["RateLimit"] = f'"default";r={quota.remaining};t={quota.reset_s}'
    return response
