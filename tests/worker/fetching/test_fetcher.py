"""A fetch returns the complete image or raises an error that says why it cannot."""

import io
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import (
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceUnavailable,
    SourceUnreachable,
)
from services.common.source_url import MAX_LENGTH
from services.common.version import VERSION
from services.worker.fetching.addresses import IPAddress
from tests.worker.fetching.fetch_harness import CONTACT, IMAGE, fetch, fetch_error, fetcher_for
from tests.worker.fetching.loopback_source import ok, redirect, response_head, serving


def test_an_image_is_fetched() -> None:
    with serving(ok(IMAGE)) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE


def test_an_image_in_chunks_is_fetched() -> None:
    head = response_head(200, "Transfer-Encoding: chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (IMAGE, b"x", IMAGE[:9]))
    with serving(head + chunks + b"0\r\n\r\n") as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE + b"x" + IMAGE[:9]


def test_an_image_without_a_length_is_fetched() -> None:
    with serving(b"HTTP/1.0 200 OK\r\n\r\n" + IMAGE) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" * 2,
    ],
)
def test_interim_responses_are_skipped(interim: bytes) -> None:
    into = io.BytesIO()
    with serving(interim + ok(IMAGE)) as source:
        fetcher_for(source).fetch(source.url(), into=into, timeout_s=20)
    assert into.getvalue() == IMAGE


def test_an_image_that_a_proxy_transformed_is_fetched() -> None:
    with serving(response_head(203, f"Content-Length: {len(IMAGE)}") + IMAGE) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE


def test_an_image_of_the_maximum_size_is_fetched() -> None:
    with serving(ok(IMAGE)) as source:
        assert fetch(fetcher_for(source, max_bytes=len(IMAGE)), source.url()) == IMAGE


def test_the_request_headers_identify_only_the_product() -> None:
    with serving(ok(IMAGE)) as source:
        fetch(fetcher_for(source), source.url("/käse.png?a=1#fragment"))
    assert source.requests == [
        b"GET /k%C3%A4se.png?a=1 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(source.port).encode() + b"\r\n"
        b"User-Agent: " + f"Taskfleet/{VERSION} (+{CONTACT})".encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n\r\n"
    ]


def test_an_email_address_may_be_the_contact() -> None:
    with serving(ok(IMAGE)) as source:
        fetch(fetcher_for(source, contact="ops@shop.example"), source.url())
    assert f"User-Agent: Taskfleet/{VERSION} (ops@shop.example)\r\n".encode() in source.requests[0]


def test_a_url_of_the_maximum_length_is_fetched() -> None:
    with serving(ok(IMAGE)) as source:
        start = source.url("/?token=")
        url = start + "x" * (MAX_LENGTH - len(start))
        assert fetch(fetcher_for(source), url) == IMAGE
    assert source.requests[0].split()[1] == url.removeprefix(source.url("")).encode()


def test_a_redirect_forwards_neither_cookies_nor_the_referer() -> None:
    with serving(ok(IMAGE)) as target:
        first = response_head(302, f"Location: {target.url('/b')}", "Set-Cookie: a=b; Path=/")
        with serving(first) as source:
            fetch(fetcher_for(source, target), source.url("/a?token=s3cret"))
    assert b"cookie" not in target.requests[0].lower()
    assert b"refer" not in target.requests[0].lower()
    assert b"s3cret" not in target.requests[0]


def test_proxies_and_netrc_of_the_environment_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login user password s3cret\n")
    program = """
import io, ipaddress, sys
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher
policy = FetchPolicy(
    max_bytes=1000,
    timeout_s=20,
    max_redirects=0,
    allowed_ports=[int(sys.argv[2])],
    allowed_networks=[ipaddress.ip_network("127.0.0.1/32")],
    contact="https://images.example/robot",
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
        (202, SourceRefused),
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
def test_any_other_status_raises_its_error(status: int, expected: type[SourceError]) -> None:
    with serving(response_head(status, "Content-Length: 3") + b"abc") as source:
        error = fetch_error(fetcher_for(source), source.url("/?token=s3cret"))
    assert type(error) is expected
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [202, 408, 429, 500, 503])
def test_an_unavailable_source_says_when_to_ask_again(status: int) -> None:
    with serving(response_head(status, "Retry-After: 20", "Content-Length: 0")) as source:
        error = fetch_error(fetcher_for(source), source.url())
    assert isinstance(error, SourceUnavailable)
    assert error.retry_after_s == 20


def test_a_malformed_retry_after_is_ignored() -> None:
    with serving(response_head(503, "Retry-After: soon", "Content-Length: 0")) as source:
        assert fetch_error(fetcher_for(source), source.url()).retry_after_s is None


@pytest.mark.parametrize(
    "response",
    [
        response_head(200, "Content-Length: 1000") + b"p" * 999,
        response_head(200, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n",
        response_head(200, "Transfer-Encoding: chunked") + b"5\r\nhel",
        response_head(200, "Transfer-Encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n",
        response_head(200, "Transfer-Encoding: chunked") + b"five\r\nhello\r\n0\r\n\r\n",
        response_head(200, "Content-Length: 5", "Content-Length: 6") + b"hello!",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\x89PNG\r\n\x1a\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_a_truncated_or_malformed_response_is_an_error(response: bytes) -> None:
    with serving(response) as source:
        error = fetch_error(fetcher_for(source), source.url("/?token=s3cret"))
    assert isinstance(error, SourceUnreachable)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 s3cret OK\r\n\r\n",
        b"HTTP/s3cret 200 OK\r\n\r\n",
        b"GET /?token=s3cret HTTP/1.1\r\n\r\n",
        response_head(200, "Transfer-Encoding: chunked") + b"token=s3cret\r\n",
        ok(b"no gzip", "Content-Encoding: s3cret, gzip"),
        redirect("http://[s3cret]/"),
        redirect("http://s3cret:x/"),
        redirect("http://169.254.170.2/?token=s3cret"),
    ],
)
def test_an_error_does_not_quote_a_response_that_repeats_the_query(response: bytes) -> None:
    with serving(response) as source:
        fetch_error(fetcher_for(source, ports=[80]), source.url("/?token=s3cret"))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        [b"", b"HTTP/1.1 200 OK\r\n", response_head(200, "Transfer-Encoding: chunked")]
    ),
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
def test_any_response_ends_in_an_image_or_a_source_error(start: bytes, rest: bytes) -> None:
    with serving(start + rest) as source, suppress(SourceError):
        fetch(fetcher_for(source), source.url())


def test_an_unknown_name_is_unreachable() -> None:
    def unknown(_host: str) -> list[IPAddress]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with serving(ok(IMAGE)) as source:
        error = fetch_error(
            fetcher_for(source, resolve=unknown), source.url(host="nowhere.example")
        )
    assert isinstance(error, SourceUnreachable)
    assert "DNS" in str(error)


def test_a_closed_port_is_unreachable() -> None:
    with serving(ok(IMAGE)) as source:
        pass
    assert isinstance(fetch_error(fetcher_for(source), source.url()), SourceUnreachable)


def test_a_full_disk_is_no_source_error() -> None:
    class FullDisk(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with serving(ok(IMAGE)) as source, pytest.raises(OSError, match="No space left"):
        fetcher_for(source).fetch(source.url(), into=FullDisk(), timeout_s=20)
