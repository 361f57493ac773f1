"""Clients that hold connections, on real sockets: they are cut off, and others are served."""

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from local.ports import HOST
from tests.api.server.conftest import SETTINGS, THREADS, ServerResources, head
from tests.api.server.gunicorn_process import PATIENCE_S, Gunicorn, answer_on, gunicorn


def test_idle_connections_do_not_block_other_clients(server: Gunicorn) -> None:
    with ExitStack() as silent:
        for _ in range(THREADS * 10):
            silent.enter_context(server.connect())

        assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("beginning", "answer"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-Slow: ", None, id="headers"),
        pytest.param(head("Content-Length: 900000"), 400, id="body"),
        pytest.param(head("Transfer-Encoding: chunked") + b"10000\r\n", 400, id="chunked body"),
    ],
)
def test_slow_senders_time_out_while_others_are_served(
    server: Gunicorn, beginning: bytes, answer: int | None
) -> None:
    with ExitStack() as slow:
        drippers = [slow.enter_context(server.sending(beginning)) for _ in range(THREADS * 2)]
        stop = threading.Event()
        dripping = threading.Thread(target=drip, args=(drippers, stop))
        dripping.start()
        try:
            assert server.request("GET", "/healthz")[0] == 200
            for connection in drippers:
                if answer is None:
                    assert connection.recv(1) == b""
                else:
                    assert answer_on(connection)[0] == answer
        finally:
            stop.set()
            dripping.join()


def drip(connections: list[socket.socket], stop: threading.Event) -> None:
    """A byte to each, again and again, for as long as anyone takes it."""
    while not stop.wait(0.05):
        for connection in connections:
            with suppress(OSError):  # cut off
                connection.sendall(b"x")


def test_clients_that_do_not_read_time_out_while_others_are_served(server: Gunicorn) -> None:
    asked = head(line="GET /openapi.json HTTP/1.1") * 20
    with ExitStack() as slow:
        pourers = [slow.enter_context(with_little_room(server.port)) for _ in range(THREADS * 2)]
        stop = threading.Event()
        pouring = threading.Thread(target=pour, args=(pourers, asked, stop))
        pouring.start()
        try:
            give_up = time.monotonic() + PATIENCE_S
            while not any("not taken in time" in line for line in list(server.lines)):
                assert server.request("GET", "/healthz")[0] == 200
                assert time.monotonic() < give_up
        finally:
            stop.set()
            pouring.join()


def with_little_room(port: int) -> socket.socket:
    """A connection on which not much can be waiting to be read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((HOST, port))
    return connection


def pour(connections: list[socket.socket], data: bytes, stop: threading.Event) -> None:
    """Ask again and again, for as long as anyone takes it, and read nothing."""
    while not stop.wait(0.01):
        for connection in connections:
            with suppress(OSError):  # cut off, or no room
                connection.send(data, socket.MSG_DONTWAIT)


def test_clients_that_never_close_do_not_block_others(server: Gunicorn) -> None:
    with ExitStack() as lingering:
        connections = [
            lingering.enter_context(server.sending(b"nonsense\r\n\r\n")) for _ in range(20)
        ]
        for connection in connections:
            assert answer_on(connection)[0] == 400

        assert server.request("GET", "/healthz")[0] == 200


def test_processing_may_take_longer_than_the_transfer_timeout(deployment: ServerResources) -> None:
    with socket.create_server((HOST, 0)) as never_answers:
        queue = f"http://{HOST}:{never_answers.getsockname()[1]}"
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
            status, _, problem = answer_on(connection)  # after the 2 s that a dependency may take
            assert (status, problem["failing"]) == (503, ["queue"])

            connection.settimeout(1)
            with pytest.raises(TimeoutError):  # rather than the end of the connection
                connection.recv(1)
