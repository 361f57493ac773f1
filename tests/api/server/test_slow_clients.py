"""Clients that occupy connections on real sockets: they time out, and others are served."""

import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from local.ports import HOST
from testbed.waiting import wait_until
from tests.api.server.conftest import SETTINGS, THREADS, ServerResources, head
from tests.api.server.gunicorn_process import Gunicorn, gunicorn, read_response


def test_idle_connections_do_not_block_other_clients(server: Gunicorn) -> None:
    with ExitStack() as idle:
        for _ in range(THREADS * 10):
            idle.enter_context(server.connect())

        assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("start_of_request", "status"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-Slow: ", None, id="headers"),
        pytest.param(head("Content-Length: 60000"), 400, id="body"),
        pytest.param(head("Transfer-Encoding: chunked") + b"8000\r\n", 400, id="chunked body"),
    ],
)
def test_slow_senders_time_out_while_others_are_served(
    server: Gunicorn, start_of_request: bytes, status: int | None
) -> None:
    with ExitStack() as slow:
        senders = [slow.enter_context(server.sending(start_of_request)) for _ in range(THREADS * 2)]
        stop = threading.Event()
        sending = threading.Thread(target=send_slowly, args=(senders, stop))
        sending.start()
        try:
            assert server.request("GET", "/healthz")[0] == 200
            for connection in senders:
                if status is None:
                    assert connection.recv(1) == b""
                else:
                    assert read_response(connection)[0] == status
        finally:
            stop.set()
            sending.join()


def send_slowly(connections: list[socket.socket], stop: threading.Event) -> None:
    """Send a byte at a time on each connection until `stop` is set."""
    while not stop.wait(0.05):
        for connection in connections:
            with suppress(OSError):  # timed out
                connection.sendall(b"x")


def test_clients_that_do_not_read_time_out_while_others_are_served(server: Gunicorn) -> None:
    requests = head(line="GET /openapi.json HTTP/1.1") * 20
    with ExitStack() as slow:
        clients = [
            slow.enter_context(connect_with_small_buffer(server.port)) for _ in range(THREADS * 2)
        ]
        stop = threading.Event()
        sending = threading.Thread(target=send_without_reading, args=(clients, requests, stop))
        sending.start()

        def is_response_timed_out() -> bool:
            assert server.request("GET", "/healthz")[0] == 200
            return any("response timed out" in line for line in list(server.lines))

        try:
            wait_until(is_response_timed_out, "a response times out")
        finally:
            stop.set()
            sending.join()


def connect_with_small_buffer(port: int) -> socket.socket:
    """A connection whose receive buffer holds little unread data."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((HOST, port))
    return connection


def send_without_reading(
    connections: list[socket.socket], data: bytes, stop: threading.Event
) -> None:
    """Send `data` repeatedly on each connection until `stop` is set, and read nothing."""
    while not stop.wait(0.01):
        for connection in connections:
            with suppress(OSError):  # timed out, or the send buffer is full
                connection.send(data, socket.MSG_DONTWAIT)


def test_clients_that_never_close_do_not_block_others(server: Gunicorn) -> None:
    with ExitStack() as lingering:
        connections = [
            lingering.enter_context(server.sending(b"nonsense\r\n\r\n")) for _ in range(20)
        ]
        for connection in connections:
            assert read_response(connection)[0] == 400

        assert server.request("GET", "/healthz")[0] == 200


def test_processing_may_take_longer_than_the_transfer_timeout(deployment: ServerResources) -> None:
    with socket.create_server((HOST, 0)) as never_responds:
        queue = f"http://{HOST}:{never_responds.getsockname()[1]}"
        environment = {
            **deployment.resources.environment(),
            **SETTINGS,
            "AWS_ENDPOINT_URL_SQS": queue,
            "API_STOP_TIMEOUT_S": "1",
        }
        with (
            gunicorn(deployment.endpoint_url, environment) as server,
            server.sending(head(line="GET /readyz HTTP/1.1")) as connection,
        ):
            status, _, problem = read_response(connection)  # after the 2 s timeout of a check
            assert (status, problem["failing"]) == (503, ["queue"])

            connection.settimeout(1)
            with pytest.raises(TimeoutError):  # the connection stays open
                connection.recv(1)
