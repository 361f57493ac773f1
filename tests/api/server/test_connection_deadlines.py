import math
import socket
from collections.abc import Iterator

import pytest

from services.api.server import connection_deadlines
from services.api.server.connection_deadlines import ConnectionDeadlines
from tests.clocks import MonotonicClock

TIMEOUT_S = 10

Pair = tuple[socket.socket, socket.socket]
"""The server's end of a connection and the client's."""


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock()


@pytest.fixture
def reading(clock: MonotonicClock) -> ConnectionDeadlines:
    return ConnectionDeadlines(
        timeout_s=TIMEOUT_S, on_expiry=connection_deadlines.stop_reading, monotonic=clock
    )


@pytest.fixture
def pair() -> Iterator[Pair]:
    server, client = socket.socketpair()
    with server, client:
        server.settimeout(0)
        yield server, client


def is_at_end(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_connection_is_shut_down_after_its_deadline(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    server, _ = pair
    reading.start(server, ends_at=math.inf)
    clock.advance(TIMEOUT_S - 0.1)
    reading.expire()
    assert not is_at_end(server)

    clock.advance(0.1)
    reading.expire()
    assert is_at_end(server)


def test_a_finished_transfer_has_no_deadline(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    server, _ = pair
    reading.start(server, ends_at=math.inf)
    reading.clear(server)
    clock.advance(10 * TIMEOUT_S)
    reading.expire()

    assert not is_at_end(server)


def test_a_client_whose_request_timed_out_can_still_read_the_response(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    server, client = pair
    reading.start(server, ends_at=math.inf)
    clock.advance(TIMEOUT_S)
    reading.expire()
    server.sendall(b"400")

    assert client.recv(3) == b"400"


def test_writing_a_response_fails_after_its_deadline(pair: Pair, clock: MonotonicClock) -> None:
    server, _ = pair
    writing = ConnectionDeadlines(
        timeout_s=TIMEOUT_S, on_expiry=connection_deadlines.close, monotonic=clock
    )
    writing.start(server, ends_at=math.inf)
    clock.advance(TIMEOUT_S)
    writing.expire()

    with pytest.raises(BrokenPipeError):
        server.sendall(b"more")


def test_expiring_a_closed_connection_is_not_an_error(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    server, _ = pair
    reading.start(server, ends_at=math.inf)
    server.close()
    clock.advance(TIMEOUT_S)
    reading.expire()


def test_a_transfer_ends_with_its_request_even_if_its_own_time_is_longer(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    server, _ = pair
    reading.start(server, ends_at=clock() + 1)
    clock.advance(1)
    reading.expire()

    assert is_at_end(server)


def test_deadlines_expire_in_any_order(
    pair: Pair, reading: ConnectionDeadlines, clock: MonotonicClock
) -> None:
    late, soon = pair
    reading.start(late, ends_at=math.inf)
    reading.start(soon, ends_at=clock() + 1)
    clock.advance(1)
    reading.expire()

    assert is_at_end(soon)
