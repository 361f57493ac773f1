"""Requests that are still arriving."""

import io
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from gunicorn.http.errors import InvalidChunkSize

from services.api.arrivals import Arrivals, Input


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        yield ours, theirs


def is_cut_off(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


Pair = tuple[socket.socket, socket.socket]


def test_what_takes_too_long_is_cut_off(pair: Pair) -> None:
    clock = Seconds()
    arrivals = Arrivals(timeout_s=10, monotonic=clock)
    arrivals.begin(pair[0])
    clock.now = 9.9
    arrivals.cut_overdue()
    assert not is_cut_off(pair[0])

    clock.now = 10
    arrivals.cut_overdue()
    assert is_cut_off(pair[0])


def test_what_has_arrived_may_take_its_time(pair: Pair) -> None:
    clock = Seconds()
    arrivals = Arrivals(timeout_s=10, monotonic=clock)
    arrivals.begin(pair[0])
    arrivals.end(pair[0])
    clock.now = 100
    arrivals.cut_overdue()

    assert not is_cut_off(pair[0])


def test_who_was_cut_off_can_still_be_answered(pair: Pair) -> None:
    arrivals = Arrivals(timeout_s=0)
    arrivals.begin(pair[0])
    arrivals.cut_overdue()
    pair[0].sendall(b"400")

    assert pair[1].recv(3) == b"400"


def test_a_connection_that_is_closed_already_is_no_error(pair: Pair) -> None:
    arrivals = Arrivals(timeout_s=0)
    arrivals.begin(pair[0])
    pair[0].close()
    arrivals.cut_overdue()


@dataclass
class Arrived:
    times: int = field(default=0)

    def __call__(self) -> None:
        self.times += 1


def test_a_body_of_known_length_has_arrived_with_its_last_byte() -> None:
    arrived = Arrived()
    body = Input({"wsgi.input": io.BytesIO(b"abcd"), "CONTENT_LENGTH": "4"}, arrived=arrived)

    assert body.read(3) == b"abc"
    assert arrived.times == 0
    assert body.read(3) == b"d"
    assert arrived.times == 1


def test_a_body_of_unknown_length_has_arrived_with_its_end() -> None:
    arrived = Arrived()
    body = Input({"wsgi.input": io.BytesIO(b"ab")}, arrived=arrived)
    body.read(2)
    assert arrived.times == 0

    assert body.read(2) == b""
    assert arrived.times == 1


def test_a_malformed_chunk_is_an_error_that_the_application_knows() -> None:
    class MalformedChunks:
        def read(self, size: int) -> bytes:
            raise InvalidChunkSize(b"not hexadecimal")

    body = Input({"wsgi.input": MalformedChunks()}, arrived=Arrived())

    with pytest.raises(OSError, match="malformed"):
        body.read(1)


def test_a_body_that_ends_early_is_an_error() -> None:
    body = Input({"wsgi.input": io.BytesIO(b"ab"), "CONTENT_LENGTH": "4"}, arrived=Arrived())
    body.read(4)

    with pytest.raises(OSError, match="early"):
        body.read(2)
