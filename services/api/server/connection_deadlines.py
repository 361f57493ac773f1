"""What has to be through in time: a request that arrives, a response that is taken."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger()


class Transfers:
    """The connections over which one is under way, each with its deadline.

    Thread-safe. `cut` is done to what is overdue. `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        cut: Callable[[socket.socket], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._cut = cut
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
            self._cut(connection)


def stop_reading(connection: socket.socket) -> None:
    """Let whoever still waits for the request read its end; it can be answered."""
    log.warning("request did not arrive in time")
    _shut(connection, socket.SHUT_RD)


def break_off(connection: socket.socket) -> None:
    """Let whoever still waits for room to write the response find out that nobody takes it."""
    log.warning("response was not taken in time")
    _shut(connection, socket.SHUT_RDWR)


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(how)
