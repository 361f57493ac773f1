"""What a checked connection does, whoever sends what over it."""

import socket
import time
from collections.abc import Iterator
from http.client import NotConnected

import pytest

from services.common.source_url import SourceUrl
from services.worker.fetching.connection import BoundedSocket, GuardedConnection
from services.worker.fetching.deadline import Deadline


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def connection_over(sock: socket.socket, url: str) -> GuardedConnection:
    deadline = Deadline(20, clock=time.monotonic)
    return GuardedConnection(SourceUrl.parse(url), BoundedSocket(sock, deadline, 1_000))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.com/", b"example.com"),
        ("https://example.com/", b"example.com"),
        ("https://example.com:80/", b"example.com:80"),
        ("http://[2606:4700::1111]/", b"[2606:4700::1111]"),
    ],
)
def test_the_host_header_leaves_out_the_schemes_own_port(
    ends: tuple[socket.socket, socket.socket], url: str, host: bytes
) -> None:
    ours, theirs = ends
    connection_over(ours, url).request("GET", "/")
    assert b"\r\nHost: " + host + b"\r\n" in theirs.recv(1_000)


def test_a_closed_connection_does_not_connect_by_itself(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    connection = connection_over(ends[0], "http://example.com/")
    connection.close()
    with pytest.raises(NotConnected):
        connection.request("GET", "/")


def test_sending_is_bounded_by_the_deadline_too(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = ends
    now = [0.0]
    bounded = BoundedSocket(ours, Deadline(10, clock=lambda: now[0]), 1_000)
    connection = GuardedConnection(SourceUrl.parse("http://example.com/"), bounded)
    now[0] = 10
    with pytest.raises(TimeoutError):
        connection.request("GET", "/")
