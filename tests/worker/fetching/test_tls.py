"""The certificates that a fetch trusts."""

import ssl

import pytest
import trustme

from services.common.errors import SourceUnreachable
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for, resolving
from tests.worker.fetching.loopback_source import ok, serving


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


def test_tls_sends_and_verifies_the_host_name(authority: trustme.CA) -> None:
    server_names: list[str | None] = []
    tls = server_tls(authority, "photos.example")
    tls.sni_callback = lambda _socket, name, _context: server_names.append(name)
    with serving(ok(IMAGE), tls=tls) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        fetched = fetch(fetcher, source.url(host="photos.example", scheme="https"))
    assert fetched == IMAGE
    assert server_names == ["photos.example"]
    assert b"\r\nHost: photos.example:%d\r\n" % source.port in source.requests[0]


def test_tls_verifies_an_ip_address(authority: trustme.CA) -> None:
    with serving(ok(IMAGE), tls=server_tls(authority, "127.0.0.1")) as source:
        fetcher = fetcher_for(source, tls=client_tls(authority))
        assert fetch(fetcher, source.url(scheme="https")) == IMAGE


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
def test_a_certificate_for_another_name_is_rejected(authority: trustme.CA, name: str) -> None:
    with serving(ok(IMAGE), tls=server_tls(authority, name)) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        error = fetch_error(fetcher, source.url(host="photos.example", scheme="https"))
    assert isinstance(error, SourceUnreachable)
    assert "certificate" in str(error)
    assert source.requests == []


def test_a_certificate_of_an_unknown_authority_is_rejected_by_default(
    authority: trustme.CA,
) -> None:
    with serving(ok(IMAGE), tls=server_tls(authority, "127.0.0.1")) as source:
        error = fetch_error(fetcher_for(source, tls=None), source.url(scheme="https"))
    assert isinstance(error, SourceUnreachable)
    assert "certificate" in str(error)
    assert source.requests == []


def test_a_server_without_tls_is_unreachable() -> None:
    with serving(b"SSH-2.0-OpenSSH_9.2\r\n", reads_head=False) as source:
        error = fetch_error(fetcher_for(source), source.url(scheme="https"))
    assert isinstance(error, SourceUnreachable)
