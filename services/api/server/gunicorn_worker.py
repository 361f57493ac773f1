"""gunicorn's threaded worker, made safe against clients that are slow on purpose or talk nonsense.

A connection gets a thread when it has sent something, and loses it when its whole request has not
arrived, or its whole response not been taken, within `transfer_timeout_s`. That and the number of
threads bound what slow clients can hold; the load balancer's own limits come on top.
"""

import math
import selectors
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from gunicorn import util
from gunicorn.http import Request
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker

from services.api import problems, security_headers
from services.api.request_id import HEADER, new_request_id
from services.api.server.connection_deadlines import Transfers, break_off, stop_reading
from services.api.server.request_body import Input

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType, _StartResponseType, _WSGIAppType

log = structlog.get_logger()

LINGER_S = 0.5
LINGER_BYTES = 16_000_000
"""How long and for how much we read on before we close, so that a client which is still sending
what was refused gets to read why and not a reset connection (RFC 9112 §9.6)."""

READ_AWAY_BYTES = 64 * 1024
"""gunicorn reads away so much of a body that was refused unread (``_DRAIN_MAX_BYTES`` in its
http/parser.py)."""

REFUSALS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long"),
    LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
    ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "expectation_failed"),
    UnsupportedTransferCoding: (HTTPStatus.NOT_IMPLEMENTED, "transfer_coding_unsupported"),
}
"""What gunicorn says of a request that never gets as far as the application."""


class Connection(TConn):
    def close(self, graceful: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - gunicorn's
        """At once: gunicorn's main loop calls this, and must not wait for any client."""
        super().close(graceful=False)


class ApiWorker(ThreadWorker):
    transfer_timeout_s: float
    """For a subclass to set: gunicorn makes the workers, and hands them its own settings only."""

    def init_process(self) -> None:
        self._arrivals = Transfers(timeout_s=self.transfer_timeout_s, cut=stop_reading)
        self._departures = Transfers(timeout_s=self.transfer_timeout_s, cut=break_off)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = self._watching(self.wsgi)

    def notify(self) -> None:
        """Called at least once a second by the main loop."""
        super().notify()
        self._arrivals.cut_overdue()
        self._departures.cut_overdue()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection without a thread for it: that comes when it has sent something."""
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was first, or the client is gone
        self.nr_conns += 1
        conn = Connection(self.cfg, accepted, address, listener.getsockname())
        conn.timeout = time.monotonic() + self.transfer_timeout_s
        self.pending_conns.append(conn)
        self.poller.register(
            accepted, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn)
        )

    def handle(self, conn: TConn) -> bool:
        """Serve one request, in a thread; False when the connection is over."""
        # What this thread served last was perhaps another client's.
        structlog.contextvars.clear_contextvars()
        self._arrivals.begin(conn.sock)
        try:
            goes_on = super().handle(conn)
        finally:
            self._arrivals.end(conn.sock)
            self._departures.end(conn.sock)
        if not goes_on:
            util.close_graceful(conn.sock, timeout=LINGER_S, max_drain=LINGER_BYTES)
        return goes_on

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Announce the end of a connection on which more than a little may be left unread.

        Else gunicorn announces that it goes on, then finds more left than it reads away, and
        closes: a load balancer's next request on it, of whichever client, would get no answer.
        """
        if _longest_body(req) > READ_AWAY_BYTES:
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(
        self,
        req: Request | None,  # noqa: ARG002
        client: socket.socket,
        addr: object,  # noqa: ARG002
        exc: BaseException,
    ) -> None:
        """Refuse what is not HTTP, repeating none of it: neither to the client nor in the log."""
        status, code = _judge(exc)
        request_id = new_request_id()
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", request_id=request_id, exc_info=exc)
        else:
            log.warning("request refused", code=code, request_id=request_id)
        body = problems.problem(status, code, f"{status.phrase}.", request_id=request_id).encode()
        headers = [
            ("Content-Type", problems.MEDIA_TYPE),
            ("Content-Length", len(body)),
            ("Connection", "close"),
            (HEADER, request_id),
            *security_headers.HEADERS,
        ]
        lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {of}" for name, of in headers)]
        head = "\r\n".join([*lines, "", ""]).encode()
        with suppress(OSError):  # the client is gone
            util.write_nonblock(client, head + body)

    def _watching(self, app: "_WSGIAppType") -> "_WSGIAppType":
        def watching(
            environ: "_EnvironType", start_response: "_StartResponseType"
        ) -> Iterable[bytes]:
            connection = environ["gunicorn.socket"]
            arrived = partial(self._arrivals.end, connection)
            if (
                environ.get("CONTENT_LENGTH", "0") == "0"
                and "HTTP_TRANSFER_ENCODING" not in environ
            ):
                arrived()
            else:
                environ["wsgi.input"] = Input(environ, arrived=arrived)
            response = app(environ, start_response)
            self._departures.begin(connection)
            return response

        return watching


def _judge(error: BaseException) -> tuple[HTTPStatus, str]:
    for kind, judgement in REFUSALS.items():
        if isinstance(error, kind):
            return judgement
    if isinstance(error, ParseException):
        return HTTPStatus.BAD_REQUEST, "malformed_request"
    return HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"


def _longest_body(request: Request) -> float:
    """In bytes, as far as the headers tell."""
    headers = dict(request.headers)
    if "TRANSFER-ENCODING" in headers:
        return math.inf
    return int(headers.get("CONTENT-LENGTH", 0))
