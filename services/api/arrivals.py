"""Requests that are still arriving, and what to do when one takes too long or ends too early."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from gunicorn.http.errors import ParseException

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType

log = structlog.get_logger()


class Arrivals:
    """The connections whose request has not arrived completely, each with its deadline.

    Thread-safe. `monotonic` is a clock in seconds.
    """

    def __init__(
        self, *, timeout_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}

    def begin(self, connection: socket.socket) -> None:
        with self._lock:
            self._deadlines[connection] = self._monotonic() + self._timeout_s

    def end(self, connection: socket.socket) -> None:
        with self._lock:
            self._deadlines.pop(connection, None)

    def cut_overdue(self) -> None:
        """Let whoever still waits for one of them read its end."""
        now = self._monotonic()
        with self._lock:
            # They began in the order in which they stand, so the first that may go on ends it.
            overdue = []
            for connection, deadline in self._deadlines.items():
                if deadline > now:
                    break
                overdue.append(connection)
            for connection in overdue:
                del self._deadlines[connection]
        for connection in overdue:
            log.warning("request did not arrive in time")
            _stop_reading(connection)


def _stop_reading(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RD)


class Input:
    """``wsgi.input`` that knows how much is still to come, and says when nothing is.

    A body that ends early raises OSError, for which the application answers 400: otherwise it
    would take the first part for the whole.
    """

    def __init__(self, environ: "_EnvironType", *, arrived: Callable[[], None]) -> None:
        self._body = environ["wsgi.input"]
        self._arrived = arrived
        length = environ.get("CONTENT_LENGTH")
        self._left = int(length) if length else None

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._body.read(size)
        except ParseException as malformed:
            raise OSError("malformed chunk") from malformed
        if self._left is not None:
            if not data and self._left and size:
                raise OSError("the body ended early")
            self._left -= len(data)
        if not data or self._left == 0:
            self._arrived()
        return data
