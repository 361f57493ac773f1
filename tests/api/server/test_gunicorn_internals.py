"""The internals of gunicorn that services/api/server overrides, calls or reads.

gunicorn promises none of them, so pyproject.toml caps its major version, and this test fails when
one of them disappears or changes. The tests beside it show that the overrides still take effect.
"""

import inspect
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import Request, parser, wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from services.api.server.gunicorn_worker import DRAIN_MAX_BYTES, ApiConnection, ApiWorker

REQUEST = b"POST /tasks HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody"

OVERRIDDEN: dict[type, dict[str, str]] = {
    ThreadWorker: {
        "init_process": "(self)",
        "load_wsgi": "(self)",
        "notify": "(self)",
        "accept": "(self, listener)",
        "enqueue_req": "(self, conn)",
        "handle": "(self, conn)",
        "handle_request": "(self, req, conn)",
        "handle_error": "(self, req, client, addr, exc)",
    },
    TConn: {"close": "(self, graceful=False)"},
    Logger: {"setup": "(self, cfg)"},
}
CALLED: dict[Callable[..., Any], str] = {
    TConn.__init__: "(self, cfg, sock, client, server)",
    ThreadWorker.on_pending_socket_readable: "(self, conn, client)",
    Request.force_close: "(self)",
    util.close_graceful: "(sock, timeout=2.0, max_drain=65536)",
    util.write_nonblock: "(sock, data, chunked=False)",
}


@pytest.mark.parametrize(
    ("owner", "method", "signature"),
    [
        pytest.param(owner, method, signature, id=f"{owner.__name__}.{method}")
        for owner, methods in OVERRIDDEN.items()
        for method, signature in methods.items()
    ],
)
def test_an_overridden_method_has_the_expected_signature(
    owner: type, method: str, signature: str
) -> None:
    assert str(inspect.signature(getattr(owner, method))) == signature


def test_every_override_is_listed() -> None:
    overrides = {
        base: {name for name in vars(ours) if callable(getattr(base, name, None))}
        for ours, base in ((ApiWorker, ThreadWorker), (ApiConnection, TConn))
    }

    assert overrides == {base: OVERRIDDEN[base].keys() for base in overrides}


@pytest.mark.parametrize(
    ("function", "signature"),
    [pytest.param(function, CALLED[function], id=function.__qualname__) for function in CALLED],
)
def test_a_called_function_has_the_expected_signature(
    function: Callable[..., Any], signature: str
) -> None:
    assert str(inspect.signature(function)) == signature


@pytest.fixture
def worker() -> Iterator[ThreadWorker]:
    """A worker whose process has not started."""
    unused: Any = None
    worker = ThreadWorker(1, 1, [], unused, 30, Config(), unused)
    with closing(worker.tmp):
        yield worker


def test_a_worker_counts_its_connections_and_queues_the_pending_ones(worker: ThreadWorker) -> None:
    assert isinstance(worker.cfg, Config)
    assert worker.nr_conns == 0
    assert worker.pending_conns == deque()
    assert hasattr(worker, "poller")


@pytest.fixture
def connection() -> Iterator[TConn]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(REQUEST)
        yield TConn(Config(), ours, ("192.0.2.1", 1), ("127.0.0.1", 8080))


def test_a_connection_has_a_socket_and_a_timeout(connection: TConn) -> None:
    assert isinstance(connection.sock, socket.socket)
    assert connection.timeout is None


def test_a_connection_has_a_parser_with_the_data_it_has_read_ahead(connection: TConn) -> None:
    connection.init()
    assert isinstance(connection.parser, RequestParser)
    assert connection.parser.unreader.buf.getvalue() == b""


def test_a_request_has_upper_case_header_names_and_can_announce_a_close() -> None:
    request = next(RequestParser(Config(), [REQUEST], ("192.0.2.1", 1)))

    assert dict(request.headers)["CONTENT-LENGTH"] == "4"
    assert not request.should_close()
    request.force_close()
    assert request.should_close()


def test_the_environ_has_the_socket_and_the_body(connection: TConn) -> None:
    request = next(RequestParser(Config(), [REQUEST], ("192.0.2.1", 1)))
    environ = wsgi.default_environ(request, connection.sock, Config())

    assert environ["gunicorn.socket"] is connection.sock
    assert environ["wsgi.input"].read() == b"body"


def test_gunicorn_discards_as_much_of_an_unread_body_as_the_server_assumes() -> None:
    assert vars(parser)["_DRAIN_MAX_BYTES"] == DRAIN_MAX_BYTES


def test_the_arbiter_has_a_table_of_its_workers() -> None:
    assert Arbiter.WORKERS == {}
