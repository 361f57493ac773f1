"""gunicorn's threaded worker, hardened against slow clients and malformed requests.

A connection gets a thread once it has sent data. It loses the thread if the whole request is not
read, or the whole response not written, within `transfer_timeout_s`. The number of threads and this
timeout bound what slow clients can occupy. The load balancer has limits of its own.

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

from services.api import error_responses, security_headers
from services.api.request_id import HEADER, new_request_id
from services.api.server import connection_deadlines
from services.api.server.connection_deadlines import ConnectionDeadlines
from services.api.server.request_body import RequestBody

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType, _StartResponseType, _WSGIAppType

log = structlog.get_logger()

LINGER_S = 0.5
LINGER_BYTES = 16_000_000
"""How long, and for how many bytes, the server keeps reading before it closes a connection. A
client that is still sending a rejected request then reads the response instead of a connection
reset (RFC 9112 §9.6)."""

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
    def close(self, graceful: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - gunicorn's
        """Close at once: gunicorn's main loop calls this and must not wait for a client."""
        super().close(graceful=False)


class ApiWorker(ThreadWorker):
    transfer_timeout_s: float
    """Set by a subclass: gunicorn creates the workers and passes them only its own settings."""

    def init_process(self) -> None:
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

    def handle(self, conn: TConn) -> bool:
        """Serve one request in a thread. Returns False if the connection must be closed."""
        # The thread may have served another client before.
        structlog.contextvars.clear_contextvars()
        self._request_deadlines.start(conn.sock)
        try:
            keep_alive = super().handle(conn)
        finally:
            self._request_deadlines.clear(conn.sock)
            self._response_deadlines.clear(conn.sock)
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
        request_id = new_request_id()
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", request_id=request_id, exc_info=exc)
        else:
            log.warning("request rejected", code=code, request_id=request_id)
        body = error_responses.problem(
            status, code, f"{status.phrase}.", request_id=request_id
        ).encode()
        headers = [
            ("Content-Type", error_responses.MEDIA_TYPE),
            ("Content-Length", len(body)),
            ("Connection", "close"),
            (HEADER, request_id),
            *security_headers.HEADERS,
        ]
        status_line = f"HTTP/1.1 {status} {status.phrase}"
        lines = [status_line, *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, "", ""]).encode()
        with suppress(OSError):  # the client is gone
            util.write_nonblock(client, head + body)

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
            self._response_deadlines.start(connection)
            return response

        return wrapped


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
