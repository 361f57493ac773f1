"""What has to be through in time."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from services.api.server.connection_deadlines import Transfers, break_off, stop_reading


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


def test_a_connection_is_shut_down_after_its_deadline(pair: Pair) -> None:
    clock = Seconds()
    arrivals = Transfers(timeout_s=10, cut=stop_reading, monotonic=clock)
    arrivals.begin(pair[0])
    clock.now = 9.9
    arrivals.cut_overdue()
    assert not is_cut_off(pair[0])

    clock.now = 10
    arrivals.cut_overdue()
    assert is_cut_off(pair[0])


def test_a_finished_transfer_has_no_deadline(pair: Pair) -> None:
    clock = Seconds()
    arrivals = Transfers(timeout_s=10, cut=stop_reading, monotonic=clock)
    arrivals.begin(pair[0])
    arrivals.end(pair[0])
    clock.now = 100
    arrivals.cut_overdue()

    assert not is_cut_off(pair[0])


def test_a_client_whose_request_timed_out_can_still_read_the_response(pair: Pair) -> None:
    arrivals = Transfers(timeout_s=0, cut=stop_reading)
    arrivals.begin(pair[0])
    arrivals.cut_overdue()
    pair[0].sendall(b"400")

    assert pair[1].recv(3) == b"400"


def test_writing_a_response_fails_after_its_deadline(pair: Pair) -> None:
    departures = Transfers(timeout_s=0, cut=break_off)
    departures.begin(pair[0])
    departures.cut_overdue()

    with pytest.raises(BrokenPipeError):
        pair[0].sendall(b"more")


def test_expiring_a_closed_connection_is_not_an_error(pair: Pair) -> None:
    arrivals = Transfers(timeout_s=0, cut=stop_reading)
    arrivals.begin(pair[0])
    pair[0].close()
    arrivals.cut_overdue()
