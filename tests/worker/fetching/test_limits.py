"""The limits on the time and the size of a fetch hold against any source."""

import gzip
import io
import socket
import tracemalloc
import zlib
from ipaddress import ip_address
from queue import Queue
from threading import Event

import pytest

from services.common.errors import SourceTimeout, SourceTooLarge
from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.guarded_connection import connect_tcp
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for, resolving
from tests.worker.fetching.loopback_source import Responder, ok, redirect, response_head, serving

SHORT_TIMEOUT_S = 0.3
"""Passes while a slow source, which takes 3 s, is still sending."""


def slowly(data: bytes, start: bytes = b"") -> Responder:
    """Send ``start``, then ``data`` in 60 parts over 3 s. Without a timeout, the fetch succeeds."""
    part = -(-len(data) // 60)
    pause = Event()

    def respond(connection: socket.socket) -> None:
        connection.sendall(start)
        for index in range(0, len(data), part):
            connection.sendall(data[index : index + part])
            pause.wait(0.05)

    return respond


@pytest.mark.parametrize(
    "response",
    [
        slowly(ok(b"p" * 60)),
        slowly(b"X-Slow: " + b"s" * 60 + b"\r\n\r\n", start=b"HTTP/1.1 200 OK\r\n"),
        slowly(b"p" * 60, start=response_head(200, "Content-Length: 60")),
        slowly(b"p" * 60, start=b"HTTP/1.0 200 OK\r\n\r\n"),
        slowly(b"1\r\np\r\n" * 60 + b"0\r\n\r\n", response_head(200, "Transfer-Encoding: chunked")),
        slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 60 + ok(b"p")),
        slowly(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 60 + ok(b"p")),
    ],
    ids=["status line", "headers", "body", "body without length", "chunks", "interim", "hints"],
)
def test_a_slow_response_times_out(response: Responder) -> None:
    with serving(response) as source:
        error = fetch_error(
            fetcher_for(source, timeout_s=SHORT_TIMEOUT_S), source.url("/?token=s3cret")
        )
    assert isinstance(error, SourceTimeout)


def test_a_slow_tls_handshake_times_out() -> None:
    with serving(slowly(b"\x16\x03\x03\x0f\xff" + b"\x02" * 55), reads_head=False) as source:
        error = fetch_error(
            fetcher_for(source, timeout_s=SHORT_TIMEOUT_S), source.url(scheme="https")
        )
    assert isinstance(error, SourceTimeout)


def test_a_shorter_timeout_of_the_caller_applies() -> None:
    with serving(slowly(ok(b"p" * 60))) as source:
        assert isinstance(
            fetch_error(fetcher_for(source), source.url(), SHORT_TIMEOUT_S), SourceTimeout
        )


def test_a_lookup_that_hangs_times_out() -> None:
    fetch_has_ended = Event()
    ended_while_stalled: Queue[bool] = Queue()

    def stalled(_host: str) -> list[IPAddress]:
        ended_while_stalled.put(fetch_has_ended.wait(3))
        return [ip_address("127.0.0.1")]

    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=stalled, timeout_s=SHORT_TIMEOUT_S)
        error = fetch_error(fetcher, source.url(host="stalled.example"))
        fetch_has_ended.set()
        assert ended_while_stalled.get(timeout=10)
    assert isinstance(error, SourceTimeout)
    assert source.connections == 0


def test_the_timeout_covers_all_redirects() -> None:
    now = [0.0]

    def slow_redirect(connection: socket.socket) -> None:
        now[0] += 6
        connection.sendall(redirect("/again"))

    with serving(slow_redirect, slow_redirect, ok(IMAGE)) as source:
        fetcher = fetcher_for(source, timeout_s=10, clock=lambda: now[0])
        assert isinstance(fetch_error(fetcher, source.url()), SourceTimeout)
    assert source.connections == 2


def test_each_address_gets_its_share_of_the_remaining_time() -> None:
    timeouts_s = []

    def connect(address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        timeouts_s.append(timeout_s)
        if address == ip_address("127.0.0.2"):
            raise TimeoutError
        return connect_tcp(address, port, timeout_s)

    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(
            source,
            networks=("127.0.0.0/8",),
            timeout_s=10,
            clock=lambda: 0.0,
            resolve=resolving(photos_example="127.0.0.2 127.0.0.1"),
            connect=connect,
        )
        assert fetch(fetcher, source.url(host="photos.example")) == IMAGE
    assert timeouts_s == [5, 10]


def test_a_connection_that_hangs_times_out() -> None:
    def connect(_address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        raise TimeoutError

    with serving(ok(IMAGE)) as source:
        error = fetch_error(fetcher_for(source, connect=connect), source.url())
    assert isinstance(error, SourceTimeout)


def endlessly(start: bytes, repeated: bytes) -> Responder:
    """Send until the client hangs up."""

    def respond(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(repeated)

    return respond


@pytest.mark.parametrize(
    "response",
    [
        endlessly(b"HTTP/1.0 200 OK\r\n\r\n", IMAGE),
        endlessly(response_head(200, "Transfer-Encoding: chunked"), b"a\r\n0123456789\r\n"),
        endlessly(response_head(200, "Transfer-Encoding: chunked") + b"0\r\n", b"X-Trailer: x\r\n"),
        endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        endlessly(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000),
        ok(b"p" * 300_000),
        response_head(200, "Content-Length: 99999999999999"),
        ok(gzip.compress(bytes(300_000)), "Content-Encoding: gzip"),
        ok(zlib.compress(bytes(300_000)), "Content-Encoding: deflate"),
        ok(gzip.compress(gzip.compress(bytes(50_000_000))), "Content-Encoding: gzip, gzip"),
    ],
    ids=[
        "body",
        "chunks",
        "trailers",
        "interim responses",
        "hints",
        "with its length",
        "only its length",
        "gzip",
        "deflate",
        "gzip in gzip",
    ],
)
def test_a_response_that_is_too_large_is_rejected(response: bytes | Responder) -> None:
    with serving(response) as source:
        assert isinstance(fetch_error(fetcher_for(source), source.url()), SourceTooLarge)


def test_nothing_is_written_if_the_content_length_is_too_large() -> None:
    into = io.BytesIO()
    with serving(ok(b"p" * 300_000)) as source, pytest.raises(SourceTooLarge, match="200,000"):
        fetcher_for(source).fetch(source.url(), into=into, timeout_s=20)
    assert into.getvalue() == b""


def test_no_more_than_the_limit_is_written() -> None:
    into = io.BytesIO()
    endless = endlessly(b"HTTP/1.0 200 OK\r\n\r\n", IMAGE)
    with serving(endless) as source, pytest.raises(SourceTooLarge):
        fetcher_for(source).fetch(source.url(), into=into, timeout_s=20)
    assert len(into.getvalue()) <= 200_000


@pytest.mark.parametrize("layers", [1, 2])
def test_a_decompression_bomb_is_rejected_in_bounded_memory(layers: int) -> None:
    bomb = bytes(100_000_000)
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    encodings = ", ".join(["gzip"] * layers)
    with serving(ok(bomb, f"Content-Encoding: {encodings}")) as source:
        fetcher = fetcher_for(source)
        tracemalloc.start()
        error = fetch_error(fetcher, source.url())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(error, SourceTooLarge)
    assert peak < 5_000_000
