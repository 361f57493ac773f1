"""Deadlines for reading requests and writing responses."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger()


class ConnectionDeadlines:
    """Connections with a transfer in progress, each with the time by which it must finish.

    Thread-safe. A transfer may take `timeout_s`. `on_expiry` is called with every connection whose
    deadline has passed. `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        on_expiry: Callable[[socket.socket], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._on_expiry = on_expiry
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}

    def start(self, connection: socket.socket, *, ends_at: float) -> None:
        """A transfer starts. It must also finish before `ends_at`, on the same clock."""
        with self._lock:
            self._deadlines[connection] = min(self._monotonic() + self._timeout_s, ends_at)

    def clear(self, connection: socket.socket) -> None:
        with self._lock:
            self._deadlines.pop(connection, None)

    def expire(self) -> None:
        now = self._monotonic()
        with self._lock:
            expired = [each for each, deadline in self._deadlines.items() if deadline <= now]
            for connection in expired:
                del self._deadlines[connection]
        for connection in expired:
            self._on_expiry(connection)


def stop_reading(connection: socket.socket) -> None:
    """End the request early. The thread that reads it sees the end and can still respond."""
    log.warning("request timed out")
    _shut_down(connection, socket.SHUT_RD)


def close(connection: socket.socket) -> None:
    """Close both directions, so that the thread that writes the response fails."""
    log.warning("response timed out")
    _shut_down(connection, socket.SHUT_RDWR)


def _shut_down(connection: socket.socket, how: int) -> None:
    with suppress(OSError):  # already closed
        connection.shutdown(how)
