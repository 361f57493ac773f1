"""A picture arrives whole or not at all, in time, within its size, and never from inside."""

import gzip
import io
import re
import socket
import ssl
import subprocess
import sys
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from queue import Queue
from threading import Event

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import (
    SourceAddressBlocked,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceTooManyRedirects,
    SourceUnavailable,
    SourceUnreachable,
    SourceUrlInvalid,
)
from services.worker.address_policy import IPAddress
from services.worker.fetch import FetchPolicy, GuardedFetcher
from services.worker.guarded_connection import Connect, connect_tcp
from services.worker.name_lookup import Resolve, resolve_name
from tests.worker.address_forms import HOSTILE_HOSTS, HOSTILE_URLS, words
from tests.worker.loopback_source import LoopbackSource, answer_head, ok, redirect, serving

PICTURE = bytes(range(256)) * 400
LOOPBACK = "127.0.0.1/32"
TLS = ssl.create_default_context()  # which takes 50 ms


def fetcher_for(
    *sources: LoopbackSource,
    ports: Sequence[int] = (),
    networks: Sequence[str] = (LOOPBACK,),
    max_bytes: int = 200_000,
    timeout_s: float = 20,
    max_redirects: int = 3,
    resolve: Resolve = resolve_name,
    connect: Connect = connect_tcp,
    tls: ssl.SSLContext | None = TLS,
    clock: Callable[[], float] | None = None,
) -> GuardedFetcher:
    policy = FetchPolicy(
        max_bytes=max_bytes,
        timeout_s=timeout_s,
        max_redirects=max_redirects,
        allowed_ports=(*(source.port for source in sources), *ports),
        allowed_networks=tuple(map(ip_network, networks)),
    )
    more = {} if clock is None else {"clock": clock}
    return GuardedFetcher(policy=policy, resolve=resolve, connect=connect, tls=tls, **more)


def fetch(fetcher: GuardedFetcher, url: str, timeout_s: float = 20) -> bytes:
    into = io.BytesIO()
    written = fetcher.fetch(url, into=into, timeout_s=timeout_s)
    assert written == len(into.getvalue())
    return into.getvalue()


def failure(fetcher: GuardedFetcher, url: str, timeout_s: float = 20) -> SourceError:
    """The error of a fetch, which has to be fit to be shown to a client and to be logged."""
    with pytest.raises(SourceError) as caught:
        fetch(fetcher, url, timeout_s)
    sentence = str(caught.value)
    assert re.fullmatch(r"The [^\n]+\.", sentence)
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|::", sentence)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    return caught.value


def resolving(**names: str) -> Resolve:
    """A DNS with these names only; several addresses are separated by spaces."""
    return lambda host: [ip_address(text) for text in names[host.replace(".", "_")].split()]


# ── What is fetched ───────────────────────────────────────────────────────────────────────────


def test_a_picture_arrives_whole() -> None:
    with serving(ok(PICTURE)) as source:
        assert fetch(fetcher_for(source), source.url()) == PICTURE


def test_a_picture_in_chunks_arrives_whole() -> None:
    head = answer_head(200, "Transfer-Encoding: chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PICTURE, b"x", PICTURE[:9]))
    with serving(head + chunks + b"0\r\n\r\n") as source:
        assert fetch(fetcher_for(source), source.url()) == PICTURE + b"x" + PICTURE[:9]


def test_a_picture_that_ends_with_the_connection_arrives_whole() -> None:
    with serving(b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE) as source:
        assert fetch(fetcher_for(source), source.url()) == PICTURE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(PICTURE)),
        ("deflate", zlib.compress(PICTURE)),
        ("gzip, gzip", gzip.compress(gzip.compress(PICTURE))),
    ],
    ids=["gzip", "deflate", "gzip twice"],
)
def test_a_content_encoding_that_nobody_asked_for_is_undone(encoding: str, body: bytes) -> None:
    with serving(ok(body, f"Content-Encoding: {encoding}")) as source:
        assert fetch(fetcher_for(source), source.url()) == PICTURE


def test_a_picture_of_the_greatest_size_allowed_arrives() -> None:
    with serving(ok(PICTURE)) as source:
        assert fetch(fetcher_for(source, max_bytes=len(PICTURE)), source.url()) == PICTURE


def test_the_source_learns_nothing_of_us_but_the_product_name() -> None:
    with serving(ok(PICTURE)) as source:
        fetch(fetcher_for(source), source.url("/käse.png?a=1#fragment"))
    assert source.requests == [
        b"GET /k%C3%A4se.png?a=1 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(source.port).encode() + b"\r\n"
        b"User-Agent: Taskfleet/1\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n\r\n"
    ]


def test_a_redirect_takes_neither_cookie_nor_referer_along() -> None:
    with serving(ok(PICTURE)) as target:
        first = answer_head(302, f"Location: {target.url('/b')}", "Set-Cookie: a=b; Path=/")
        with serving(first) as source:
            fetch(fetcher_for(source, target), source.url("/a?token=s3cret"))
    assert b"cookie" not in target.requests[0].lower()
    assert b"refer" not in target.requests[0].lower()
    assert b"s3cret" not in target.requests[0]


def test_proxy_netrc_and_other_settings_of_the_environment_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login user password s3cret\n")
    program = """
import io, ipaddress, sys
from services.worker.fetch import FetchPolicy, GuardedFetcher
policy = FetchPolicy(
    max_bytes=1000,
    timeout_s=20,
    max_redirects=0,
    allowed_ports=[int(sys.argv[2])],
    allowed_networks=[ipaddress.ip_network("127.0.0.1/32")],
)
GuardedFetcher(policy=policy).fetch(sys.argv[1], into=io.BytesIO(), timeout_s=20)
"""
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    with serving(ok(b"proxied")) as proxy, serving(ok(b"direct")) as source:
        environment = dict.fromkeys(names, proxy.url("")) | {"HOME": str(tmp_path)}
        subprocess.run(
            [sys.executable, "-c", program, source.url(), str(source.port)],
            env=environment,
            check=True,
        )
    assert proxy.connections == 0
    assert b"authorization" not in source.requests[0].lower()


# ── Where it may come from ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", words(HOSTILE_HOSTS))
def test_no_way_of_writing_a_host_leads_inside(host: str) -> None:
    with serving(ok(b"inside")) as trap:
        fetcher = fetcher_for(trap, networks=(), resolve=lambda _: [ip_address("127.0.0.1")])
        error = failure(fetcher, f"http://{host}:{trap.port}/latest?token=s3cret")
    assert isinstance(error, SourceUrlInvalid | SourceAddressBlocked)
    assert trap.connections == 0


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_no_way_of_writing_a_url_leads_inside(url: str) -> None:
    with serving(ok(b"inside")) as trap:
        fetcher = fetcher_for(trap, networks=(), resolve=lambda _: [ip_address("127.0.0.1")])
        assert isinstance(failure(fetcher, url), SourceUrlInvalid | SourceAddressBlocked)
    assert trap.connections == 0


def test_a_name_that_resolves_inside_is_refused() -> None:
    with serving(ok(b"inside")) as trap:
        error = failure(fetcher_for(trap, networks=()), trap.url(host="localhost"))
    assert isinstance(error, SourceAddressBlocked)
    assert trap.connections == 0


@pytest.mark.parametrize("answers", ["127.0.0.1 169.254.170.2", "::ffff:10.0.0.1 127.0.0.1"])
def test_a_name_with_one_address_inside_is_refused_whole(answers: str) -> None:
    with serving(ok(PICTURE)) as source:
        fetcher = fetcher_for(source, resolve=resolving(photos_example=answers))
        error = failure(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert source.connections == 0


def test_a_name_that_changes_its_answer_is_connected_to_where_it_was_checked() -> None:
    asked = []

    def rebinding(host: str) -> list[IPAddress]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with serving(ok(PICTURE)) as source:
        fetched = fetch(
            fetcher_for(source, resolve=rebinding), source.url(host="rebinding.example")
        )
    assert fetched == PICTURE
    assert asked == ["rebinding.example"]


def test_a_name_that_changes_its_answer_between_redirects_is_checked_again() -> None:
    answers = iter(["127.0.0.1", "127.0.0.2"])
    with serving(redirect("/again"), ok(b"inside")) as source:
        fetcher = fetcher_for(source, resolve=lambda _: [ip_address(next(answers))])
        error = failure(fetcher, source.url(host="rebinding.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert source.connections == 1


def test_a_connection_that_something_leads_elsewhere_is_dropped_unused() -> None:
    with serving(ok(b"inside")) as trap:

        def led_astray(_address: IPAddress, port: int, timeout_s: float) -> socket.socket:
            return connect_tcp(ip_address("127.0.0.1"), port, timeout_s)

        fetcher = fetcher_for(
            trap, resolve=resolving(photos_example="93.184.216.34"), connect=led_astray
        )
        error = failure(fetcher, trap.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert trap.requests == []


def test_a_port_that_is_not_allowed_is_refused_before_the_look_up() -> None:
    with serving(ok(b"inside")) as trap, serving(ok(PICTURE)) as source:
        fetcher = fetcher_for(source, resolve=resolving())
        error = failure(fetcher, trap.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert str(source.port) in str(error)
    assert trap.connections == 0


def test_ipv6_is_reached_under_its_bracketed_name() -> None:
    with serving(ok(PICTURE), host="::1") as source:
        fetched = fetch(fetcher_for(source, networks=("::1/128",)), source.url(host="[::1]"))
    assert fetched == PICTURE
    assert b"\r\nHost: [::1]:%d\r\n" % source.port in source.requests[0]


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with serving(ok(PICTURE)) as source:
        fetcher = fetcher_for(
            source,
            networks=("127.0.0.0/8",),
            resolve=resolving(photos_example="127.0.0.3 127.0.0.2 127.0.0.1"),
        )
        assert fetch(fetcher, source.url(host="photos.example")) == PICTURE


def test_a_name_with_many_dead_addresses_is_given_up() -> None:
    tried = []

    def dead(address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    with serving(ok(PICTURE)) as source:
        addresses = " ".join(f"93.184.216.{last}" for last in range(200))
        fetcher = fetcher_for(source, resolve=resolving(photos_example=addresses), connect=dead)
        error = failure(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceUnreachable)
    assert len(tried) == 4


# ── Redirects ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    with serving(redirect("../b.png?x=1", status), ok(PICTURE)) as source:
        assert fetch(fetcher_for(source), source.url("/dir/a.png")) == PICTURE
    assert source.requests[1].startswith(b"GET /b.png?x=1 HTTP/1.1\r\n")


def test_redirects_are_followed_to_the_limit_and_no_further() -> None:
    three = [redirect("/again")] * 3
    with serving(*three, ok(PICTURE)) as source:
        assert fetch(fetcher_for(source), source.url()) == PICTURE
    with serving(*three, redirect("/again"), ok(PICTURE)) as source:
        assert isinstance(failure(fetcher_for(source), source.url()), SourceTooManyRedirects)
    assert source.connections == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.170.2/v2/credentials/s3cret",
        "//169.254.170.2/v2/credentials/s3cret",
        "http://[::ffff:169.254.170.2]/",
        "http://127.0.0.2./",
    ],
)
def test_a_redirect_inside_is_refused(location: str) -> None:
    with serving(redirect(location)) as source:
        error = failure(fetcher_for(source, ports=[80]), source.url())
    assert isinstance(error, SourceAddressBlocked)


def test_a_redirect_to_a_neighbour_that_listens_is_refused() -> None:
    with (
        serving(ok(b"inside"), host="127.0.0.2") as trap,
        serving(redirect(trap.url(host="127.0.0.2"))) as source,
    ):
        error = failure(fetcher_for(source, trap), source.url())
    assert isinstance(error, SourceAddressBlocked)
    assert trap.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://127.0.0.1/",
        "http://user:s3cret@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://2130706433/",
    ],
)
def test_a_redirect_to_what_is_no_plain_url_is_refused(location: str) -> None:
    with serving(redirect(location)) as source:
        assert isinstance(failure(fetcher_for(source), source.url()), SourceUrlInvalid)


def test_a_redirect_to_nowhere_is_refused() -> None:
    with serving(answer_head(302, "Content-Length: 0")) as source:
        assert isinstance(failure(fetcher_for(source), source.url()), SourceRefused)


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_names_and_verifies_the_host_of_the_url(authority: trustme.CA) -> None:
    named: list[str | None] = []
    tls = server_tls(authority, "photos.example")
    tls.sni_callback = lambda _socket, name, _context: named.append(name)
    with serving(ok(PICTURE), tls=tls) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        fetched = fetch(fetcher, source.url(host="photos.example", scheme="https"))
    assert fetched == PICTURE
    assert named == ["photos.example"]
    assert b"\r\nHost: photos.example:%d\r\n" % source.port in source.requests[0]


def test_tls_verifies_an_address_too(authority: trustme.CA) -> None:
    with serving(ok(PICTURE), tls=server_tls(authority, "127.0.0.1")) as source:
        fetcher = fetcher_for(source, tls=client_tls(authority))
        assert fetch(fetcher, source.url(scheme="https")) == PICTURE


@pytest.mark.parametrize("certified", ["other.example", "127.0.0.1"])
def test_a_certificate_of_another_name_is_refused(authority: trustme.CA, certified: str) -> None:
    with serving(ok(PICTURE), tls=server_tls(authority, certified)) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        error = failure(fetcher, source.url(host="photos.example", scheme="https"))
    assert isinstance(error, SourceUnreachable)
    assert "certificate" in str(error)
    assert source.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused_by_default(
    authority: trustme.CA,
) -> None:
    with serving(ok(PICTURE), tls=server_tls(authority, "127.0.0.1")) as source:
        error = failure(fetcher_for(source, tls=None), source.url(scheme="https"))
    assert isinstance(error, SourceUnreachable)
    assert "certificate" in str(error)
    assert source.requests == []


def test_a_server_that_does_not_speak_tls_is_unreachable() -> None:
    with serving(b"SSH-2.0-OpenSSH_9.2\r\n", reads_head=False) as source:
        error = failure(fetcher_for(source), source.url(scheme="https"))
    assert isinstance(error, SourceUnreachable)


# ── In time ───────────────────────────────────────────────────────────────────────────────────

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
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" * 2,
    ],
)
def test_interim_answers_are_passed_over(interim: bytes) -> None:
    into = io.BytesIO()
    with serving(interim + ok(PICTURE)) as source:
        fetcher_for(source).fetch(source.url(), into=into, timeout_s=20)
    assert into.getvalue() == PICTURE


@pytest.mark.parametrize(
    "answer",
    [
        dripping(ok(b"p" * 60)),
        dripping(b"X-Slow: " + b"s" * 60 + b"\r\n\r\n", start=b"HTTP/1.1 200 OK\r\n"),
        dripping(b"p" * 60, start=answer_head(200, "Content-Length: 60")),
        dripping(b"p" * 60, start=b"HTTP/1.0 200 OK\r\n\r\n"),
        dripping(b"1\r\np\r\n" * 60 + b"0\r\n\r\n", answer_head(200, "Transfer-Encoding: chunked")),
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

    with serving(ok(PICTURE)) as source:
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

    with serving(slow_redirect, slow_redirect, ok(PICTURE)) as source:
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

    with serving(ok(PICTURE)) as source:
        fetcher = fetcher_for(
            source,
            networks=("127.0.0.0/8",),
            timeout_s=10,
            clock=lambda: 0.0,
            resolve=resolving(photos_example="127.0.0.2 127.0.0.1"),
            connect=swallowed,
        )
        assert fetch(fetcher, source.url(host="photos.example")) == PICTURE
    assert given_s == [5, 10]


def test_connections_that_are_swallowed_are_a_timeout() -> None:
    def swallowed(_address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        raise TimeoutError

    with serving(ok(PICTURE)) as source:
        error = failure(fetcher_for(source, connect=swallowed), source.url())
    assert isinstance(error, SourceTimeout)


# ── Within its size ───────────────────────────────────────────────────────────────────────────


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
        endlessly(b"HTTP/1.0 200 OK\r\n\r\n", PICTURE),
        endlessly(answer_head(200, "Transfer-Encoding: chunked"), b"a\r\n0123456789\r\n"),
        endlessly(answer_head(200, "Transfer-Encoding: chunked") + b"0\r\n", b"X-Trailer: x\r\n"),
        endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        endlessly(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000),
        ok(b"p" * 300_000),
        answer_head(200, "Content-Length: 99999999999999"),
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


def test_a_picture_is_not_begun_that_is_announced_as_too_large() -> None:
    into = io.BytesIO()
    with serving(ok(b"p" * 300_000)) as source, pytest.raises(SourceTooLarge, match="200,000"):
        fetcher_for(source).fetch(source.url(), into=into, timeout_s=20)
    assert into.getvalue() == b""


def test_no_more_than_the_limit_is_written() -> None:
    into = io.BytesIO()
    endless = endlessly(b"HTTP/1.0 200 OK\r\n\r\n", PICTURE)
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


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, SourceNotFound),
        (410, SourceNotFound),
        (408, SourceUnavailable),
        (425, SourceUnavailable),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (599, SourceUnavailable),
        (101, SourceRefused),
        (201, SourceRefused),
        (204, SourceRefused),
        (206, SourceRefused),
        (300, SourceRefused),
        (304, SourceRefused),
        (400, SourceRefused),
        (401, SourceRefused),
        (403, SourceRefused),
        (407, SourceRefused),
        (451, SourceRefused),
    ],
)
def test_a_status_other_than_200_has_its_own_error(
    status: int, expected: type[SourceError]
) -> None:
    with serving(answer_head(status, "Content-Length: 3") + b"abc") as source:
        error = failure(fetcher_for(source), source.url("/?token=s3cret"))
    assert type(error) is expected
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        answer_head(200, "Content-Length: 1000") + b"p" * 999,
        answer_head(200, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n",
        answer_head(200, "Transfer-Encoding: chunked") + b"5\r\nhel",
        answer_head(200, "Transfer-Encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n",
        answer_head(200, "Transfer-Encoding: chunked") + b"five\r\nhello\r\n0\r\n\r\n",
        answer_head(200, "Content-Length: 5", "Content-Length: 6") + b"hello!",
        ok(b"not gzip at all", "Content-Encoding: gzip"),
        ok(b"p", "Content-Encoding: " + ", ".join(["gzip"] * 6)),
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\x89PNG\r\n\x1a\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_is_cut_short_or_malformed_is_never_a_success(answer: bytes) -> None:
    with serving(answer) as source:
        error = failure(fetcher_for(source), source.url("/?token=s3cret"))
    assert isinstance(error, SourceUnreachable)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 s3cret OK\r\n\r\n",
        b"HTTP/s3cret 200 OK\r\n\r\n",
        b"GET /?token=s3cret HTTP/1.1\r\n\r\n",
        answer_head(200, "Transfer-Encoding: chunked") + b"token=s3cret\r\n",
        ok(b"no gzip", "Content-Encoding: s3cret, gzip"),
        redirect("http://[s3cret]/"),
        redirect("http://s3cret:x/"),
        redirect("http://169.254.170.2/?token=s3cret"),
    ],
)
def test_a_source_that_repeats_the_query_does_not_get_it_into_the_log(answer: bytes) -> None:
    with serving(answer) as source:
        failure(fetcher_for(source, ports=[80]), source.url("/?token=s3cret"))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", answer_head(200, "Transfer-Encoding: chunked")]),
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"\r\n",
                    b"Content-Length: 4",
                    b"Content-Length: -4",
                    b"Transfer-Encoding: chunked",
                    b"Content-Encoding: deflate, gzip",
                    b"Location: http://[",
                    b": nameless",
                    b" folded",
                    b"ffffffffffffffff",
                    b"HTTP/1.1 302 Found",
                ]
            ),
        ),
        max_size=12,
    ).map(b"\r\n".join),
)
def test_whatever_the_source_answers_a_fetch_ends_in_a_picture_or_an_error_of_ours(
    start: bytes, rest: bytes
) -> None:
    with serving(start + rest) as source, suppress(SourceError):
        fetch(fetcher_for(source), source.url())


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    def unknown(_host: str) -> list[IPAddress]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with serving(ok(PICTURE)) as source:
        error = failure(fetcher_for(source, resolve=unknown), source.url(host="nowhere.example"))
    assert isinstance(error, SourceUnreachable)
    assert "DNS" in str(error)


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with serving(ok(PICTURE)) as source:
        pass
    assert isinstance(failure(fetcher_for(source), source.url()), SourceUnreachable)


def test_a_full_disk_is_not_the_sources_fault() -> None:
    class FullDisk(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with serving(ok(PICTURE)) as source, pytest.raises(OSError, match="No space left"):
        fetcher_for(source).fetch(source.url(), into=FullDisk(), timeout_s=20)
