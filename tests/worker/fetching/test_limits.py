"""A fetch ends in time and within its size, whatever the source does."""

import gzip
import io
import socket
import tracemalloc
import zlib
from collections.abc import Callable
from ipaddress import ip_address
from queue import Queue
from threading import Event

import pytest

from services.common.errors import SourceTimeout, SourceTooLarge
from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.connection import connect_tcp
from tests.worker.fetching.fetch_harness import IMAGE, failure, fetch, fetcher_for, resolving
from tests.worker.fetching.loopback_source import ok, redirect, response_head, serving

BRIEF_S = 0.3
"""A deadline that passes while a dripping source, which ends after 3 s, is still at it."""


def dripping(data: bytes, start: bytes = b"") -> Callable[[socket.socket], None]:
    """Send ``start``, then ``data`` in 60 parts over 3 s; who waits for all of it succeeds."""
    part = -(-len(data) // 60)
    pause = Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        for index in range(0, len(data), part):
            connection.sendall(data[index : index + part])
            pause.wait(0.05)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        dripping(ok(b"p" * 60)),
        dripping(b"X-Slow: " + b"s" * 60 + b"\r\n\r\n", start=b"HTTP/1.1 200 OK\r\n"),
        dripping(b"p" * 60, start=response_head(200, "Content-Length: 60")),
        dripping(b"p" * 60, start=b"HTTP/1.0 200 OK\r\n\r\n"),
        dripping(
            b"1\r\np\r\n" * 60 + b"0\r\n\r\n", response_head(200, "Transfer-Encoding: chunked")
        ),
        dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 60 + ok(b"p")),
        dripping(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 60 + ok(b"p")),
    ],
    ids=["status line", "headers", "body", "body without length", "chunks", "interim", "hints"],
)
def test_a_source_that_drips_is_cut_off_at_the_deadline(
    answer: Callable[[socket.socket], None],
) -> None:
    with serving(answer) as source:
        error = failure(fetcher_for(source, timeout_s=BRIEF_S), source.url("/?token=s3cret"))
    assert isinstance(error, SourceTimeout)


def test_a_tls_handshake_that_drips_is_cut_off_at_the_deadline() -> None:
    with serving(dripping(b"\x16\x03\x03\x0f\xff" + b"\x02" * 55), reads_head=False) as source:
        error = failure(fetcher_for(source, timeout_s=BRIEF_S), source.url(scheme="https"))
    assert isinstance(error, SourceTimeout)


def test_the_callers_own_time_limit_holds_when_it_is_shorter() -> None:
    with serving(dripping(ok(b"p" * 60))) as source:
        assert isinstance(failure(fetcher_for(source), source.url(), BRIEF_S), SourceTimeout)


def test_a_dns_that_does_not_answer_is_left_behind_at_the_deadline() -> None:
    fetch_has_ended = Event()
    ended_while_stalled: Queue[bool] = Queue()

    def stalled(_host: str) -> list[IPAddress]:
        ended_while_stalled.put(fetch_has_ended.wait(3))
        return [ip_address("127.0.0.1")]

    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=stalled, timeout_s=BRIEF_S)
        error = failure(fetcher, source.url(host="stalled.example"))
        fetch_has_ended.set()
        assert ended_while_stalled.get(timeout=10)
    assert isinstance(error, SourceTimeout)
    assert source.connections == 0


def test_one_deadline_spans_all_redirects() -> None:
    now = [0.0]

    def slow_redirect(connection: socket.socket) -> None:
        now[0] += 6
        connection.sendall(redirect("/again"))

    with serving(slow_redirect, slow_redirect, ok(IMAGE)) as source:
        fetcher = fetcher_for(source, timeout_s=10, clock=lambda: now[0])
        assert isinstance(failure(fetcher, source.url()), SourceTimeout)
    assert source.connections == 2


def test_an_address_that_swallows_connections_does_not_use_up_the_others_time() -> None:
    given_s = []

    def swallowed(address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        given_s.append(timeout_s)
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
            connect=swallowed,
        )
        assert fetch(fetcher, source.url(host="photos.example")) == IMAGE
    assert given_s == [5, 10]


def test_connections_that_are_swallowed_are_a_timeout() -> None:
    def swallowed(_address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        raise TimeoutError

    with serving(ok(IMAGE)) as source:
        error = failure(fetcher_for(source, connect=swallowed), source.url())
    assert isinstance(error, SourceTimeout)


def endlessly(start: bytes, again: bytes) -> Callable[[socket.socket], None]:
    """Send until the other side hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(again)

    return answer


@pytest.mark.parametrize(
    "answer",
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
        "interim answers",
        "hints",
        "announced",
        "only announced",
        "gzip",
        "deflate",
        "gzip in gzip",
    ],
)
def test_what_is_too_large_is_cut_off(answer: bytes | Callable[[socket.socket], None]) -> None:
    with serving(answer) as source:
        assert isinstance(failure(fetcher_for(source), source.url()), SourceTooLarge)


def test_an_image_is_not_begun_that_is_announced_as_too_large() -> None:
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
def test_a_bomb_is_not_unpacked_in_memory(layers: int) -> None:
    bomb = bytes(100_000_000)
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    encodings = ", ".join(["gzip"] * layers)
    with serving(ok(bomb, f"Content-Encoding: {encodings}")) as source:
        fetcher = fetcher_for(source)
        tracemalloc.start()
        error = failure(fetcher, source.url())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(error, SourceTooLarge)
    assert peak < 5_000_000
