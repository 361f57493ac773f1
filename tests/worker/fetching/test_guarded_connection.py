"""The headers, the deadline and the end of a checked connection."""

import socket
import time
from collections.abc import Iterator
from http.client import NotConnected

import pytest

from services.common.source_url import SourceUrl
from services.worker.fetching.deadline import Deadline
from services.worker.fetching.guarded_connection import BoundedSocket, GuardedConnection


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end of a connection and the server's."""
    client_end, server_end = socket.socketpair()
    with client_end, server_end:
        yield client_end, server_end


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
def test_the_host_header_omits_the_default_port(
    ends: tuple[socket.socket, socket.socket], url: str, host: bytes
) -> None:
    client_end, server_end = ends
    connection_over(client_end, url).request("GET", "/")
    assert b"\r\nHost: " + host + b"\r\n" in server_end.recv(1_000)


def test_a_closed_connection_does_not_reconnect(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    connection = connection_over(ends[0], "http://example.com/")
    connection.close()
    with pytest.raises(NotConnected):
        connection.request("GET", "/")


def test_sending_times_out_at_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    client_end, _ = ends
    now = [0.0]
    bounded = BoundedSocket(client_end, Deadline(10, clock=lambda: now[0]), 1_000)
    connection = GuardedConnection(SourceUrl.parse("http://example.com/"), bounded)
    now[0] = 10
    with pytest.raises(TimeoutError):
        connection.request("GET", "/")
