"""The container's health check against good, bad, silent and missing servers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.api.probe import fault

HOST = "127.0.0.1"


@contextmanager
def responding_server(response: bytes) -> Iterator[int]:
    """A server for one connection. Yields its port."""
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(10)  # if the check never connects

        def respond() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(response)

        serving = threading.Thread(target=respond)
        serving.start()
        yield listening.getsockname()[1]
        serving.join()


@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])  # noqa: S104 - the address of the check
def test_a_responding_server_is_healthy_on_any_listen_address(host: str) -> None:
    with responding_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        assert fault(host, port) is None


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", id="503"),
        pytest.param(b"", id="no response"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
    ],
)
def test_any_other_response_is_unhealthy(response: bytes) -> None:
    with responding_server(response) as port:
        assert fault(HOST, port) is not None


def test_a_refused_connection_is_unhealthy_and_reported() -> None:
    with socket.create_server((HOST, 0)) as unused:
        port = unused.getsockname()[1]
    assert fault(HOST, port) == "[Errno 111] Connection refused"
