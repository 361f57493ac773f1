"""gunicorn's threaded worker, hardened against slow clients and malformed requests.

A connection gets a thread once it has sent data. It loses the thread if the whole request is not
read, or the whole response not written, within `transfer_timeout_s`. The number of threads and this
timeout bound what slow clients can occupy. The load balancer has limits of its own.

The main loop itself answers health checks, so these never wait behind requests, and rejects
requests while too many wait for a thread.

tests/api/server/test_gunicorn_internals.py lists the internals of gunicorn that this module uses.
"""

import math
import selectors
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

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
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from services.api import request_id
from services.api.server import connection_deadlines, raw_response
from services.api.server.connection_deadlines import ConnectionDeadlines
from services.api.server.health_request import MAX_BYTES
from services.api.server.immediate_responses import STALL_S, ImmediateResponses
from services.api.server.request_body import RequestBody
from services.api.server.request_progress import RequestProgress
from services.common.call_deadline import call_deadline, calls_end_by

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType, _StartResponseType, _WSGIAppType

log = structlog.get_logger()

LINGER_S = 0.5
LINGER_BYTES = 16_000_000
"""How long, and for how many bytes, the server keeps reading before it closes a connection. A
client that is still sending a rejected request then reads the response instead of a connection
reset (RFC 9112 §9.6)."""

WAITING_PER_THREAD = 8
"""How many requests may wait for each thread. The rest get 503 at once."""

DRAIN_MAX_BYTES = 64 * 1024
"""gunicorn discards up to this much of an unread request body before it reuses a connection
(``_DRAIN_MAX_BYTES`` in its http/parser.py)."""

ERRORS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long"),
    LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
    ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "expectation_failed"),
    UnsupportedTransferCoding: (HTTPStatus.NOT_IMPLEMENTED, "transfer_coding_unsupported"),
}
"""Status and code for requests that gunicorn rejects before they reach the application."""


class ApiConnection(TConn):
    ends_at: float
    """When the current request must be complete, on the monotonic clock."""

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - gunicorn's
        """Close at once: gunicorn's main loop calls this and must not wait for a client."""
        super().close(graceful=False)


class ApiWorker(ThreadWorker):
    transfer_timeout_s: float
    request_timeout_s: float
    """Set by a subclass: gunicorn creates the workers and passes them only its own settings."""

    def init_process(self) -> None:
        self._progress = RequestProgress(stall_s=STALL_S)
        self._immediate_responses = ImmediateResponses(
            self._progress, max_waiting=WAITING_PER_THREAD * self.cfg.threads
        )
        self._request_deadlines = ConnectionDeadlines(
            timeout_s=self.transfer_timeout_s, on_expiry=connection_deadlines.stop_reading
        )
        self._response_deadlines = ConnectionDeadlines(
            timeout_s=self.transfer_timeout_s, on_expiry=connection_deadlines.close
        )
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = self._with_deadlines(self.wsgi)

    def notify(self) -> None:
        """Called by gunicorn's main loop at least once a second."""
        super().notify()
        self._request_deadlines.expire()
        self._response_deadlines.expire()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection without assigning a thread until it has sent data."""
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process accepted it, or the client is gone
        self.nr_conns += 1
        conn = ApiConnection(self.cfg, accepted, address, listener.getsockname())
        conn.timeout = time.monotonic() + self.transfer_timeout_s
        self.pending_conns.append(conn)
        self.poller.register(
            accepted, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn)
        )

    def enqueue_req(self, conn: TConn) -> None:
        """Assign a thread to a connection that has sent data, unless the main loop can answer."""
        response = self._immediate_responses.response_to(_peek(conn))
        if response is None:
            _api(conn).ends_at = time.monotonic() + self.request_timeout_s
            self._progress.queued()
            super().enqueue_req(conn)
            return
        with suppress(OSError):  # the client is gone
            # Closing a connection with unread data would reset it.
            conn.sock.recv(DRAIN_MAX_BYTES, socket.MSG_DONTWAIT)
            conn.sock.send(response, socket.MSG_DONTWAIT)
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: TConn) -> bool:
        """Serve one request in a thread. Returns False if the connection must be closed."""
        self._progress.started()
        # The thread may have served another client before.
        structlog.contextvars.clear_contextvars()
        self._request_deadlines.start(conn.sock, ends_at=_api(conn).ends_at)
        try:
            keep_alive = super().handle(conn)
        finally:
            self._request_deadlines.clear(conn.sock)
            self._response_deadlines.clear(conn.sock)
            self._progress.finished()
        if not keep_alive:
            util.close_graceful(conn.sock, timeout=LINGER_S, max_drain=LINGER_BYTES)
        return keep_alive

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Announce ``Connection: close`` if the request may leave a large body unread.

        Otherwise gunicorn announces keep-alive, finds more unread than it discards, and closes the
        connection. A load balancer that has sent another client's request on it by then gets no
        response.
        """
        if _body_length(req) > DRAIN_MAX_BYTES:
            req.force_close()
        with calls_end_by(_api(conn).ends_at):
            return super().handle_request(req, conn)

    def handle_error(
        self,
        req: Request | None,  # noqa: ARG002
        client: socket.socket,
        addr: object,  # noqa: ARG002
        exc: BaseException,
    ) -> None:
        """Respond to malformed HTTP with a problem document.

        Neither the response nor the log repeats any of the request.
        """
        status, code = _error_of(exc)
        error_id = request_id.new_request_id()
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", request_id=error_id, exc_info=exc)
        else:
            log.warning("request rejected", code=code, request_id=error_id)
        response = raw_response.problem(status, code, f"{status.phrase}.", request_id=error_id)
        with suppress(OSError):  # the client is gone
            util.write_nonblock(client, response)

    def _with_deadlines(self, app: "_WSGIAppType") -> "_WSGIAppType":
        def wrapped(
            environ: "_EnvironType", start_response: "_StartResponseType"
        ) -> Iterable[bytes]:
            connection = environ["gunicorn.socket"]
            request_complete = partial(self._request_deadlines.clear, connection)
            if (
                environ.get("CONTENT_LENGTH", "0") == "0"
                and "HTTP_TRANSFER_ENCODING" not in environ
            ):
                request_complete()
            else:
                environ["wsgi.input"] = RequestBody(environ, on_complete=request_complete)
            response = app(environ, start_response)
            self._response_deadlines.start(connection, ends_at=call_deadline())
            return response

        return wrapped


def _api(conn: TConn) -> ApiConnection:
    """`accept` creates every connection."""
    return cast("ApiConnection", conn)


def _peek(conn: TConn) -> bytes:
    """What the client has sent, without reading it. Empty if the thread must look for itself."""
    if isinstance(conn.parser, RequestParser) and conn.parser.unreader.buf.getvalue():
        return b""  # a part of the request has been read already
    try:
        return conn.sock.recv(MAX_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""


def _error_of(error: BaseException) -> tuple[HTTPStatus, str]:
    for kind, status_and_code in ERRORS.items():
        if isinstance(error, kind):
            return status_and_code
    if isinstance(error, ParseException):
        return HTTPStatus.BAD_REQUEST, "malformed_request"
    return HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"


def _body_length(request: Request) -> float:
    """The length of the body in bytes, or infinity if the headers do not state it."""
    headers = dict(request.headers)
    if "TRANSFER-ENCODING" in headers:
        return math.inf
    return int(headers.get("CONTENT-LENGTH", 0))
