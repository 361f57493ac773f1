"""The certificates that a fetch trusts."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from services.common.errors import SourceCertificateInvalid, SourceError, SourceUnreachable
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for, resolving
from tests.worker.fetching.loopback_source import ok, serving

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(
    authority: trustme.CA,
    name: str,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, not_before=not_before, not_after=not_after).configure_cert(context)
    return context


def server_tls_with(*pems: trustme.Blob) -> ssl.SSLContext:
    """A server that sends exactly these: a private key, its certificate, then others."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with trustme.Blob(b"".join(pem.bytes() for pem in pems)).tempfile() as file:
        context.load_cert_chain(file)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
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


def certificate_failure(tls: ssl.SSLContext, authority: trustme.CA) -> SourceError:
    """The error of a fetch from https://photos.example, which must not send a request."""
    with serving(ok(IMAGE), tls=tls) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        error = fetch_error(fetcher, source.url(host="photos.example", scheme="https"))
    assert source.requests == []
    return error


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
def test_a_certificate_for_another_name_is_rejected(authority: trustme.CA, name: str) -> None:
    error = certificate_failure(server_tls(authority, name), authority)
    assert isinstance(error, SourceCertificateInvalid)
    assert "for another host name" in str(error)


def test_a_certificate_for_another_address_is_rejected(authority: trustme.CA) -> None:
    with serving(ok(IMAGE), tls=server_tls(authority, "127.0.0.2")) as source:
        fetcher = fetcher_for(source, tls=client_tls(authority))
        error = fetch_error(fetcher, source.url(scheme="https"))
    assert isinstance(error, SourceCertificateInvalid)
    assert "for another IP address" in str(error)


def test_an_expired_certificate_is_named(authority: trustme.CA) -> None:
    tls = server_tls(authority, "photos.example", not_after=NOW - timedelta(days=1))
    error = certificate_failure(tls, authority)
    assert isinstance(error, SourceCertificateInvalid)
    assert "expired" in str(error)


def test_a_certificate_that_is_not_valid_yet_is_retried(authority: trustme.CA) -> None:
    tls = server_tls(authority, "photos.example", not_before=NOW + timedelta(hours=1))
    error = certificate_failure(tls, authority)
    assert error.retryable
    assert "not valid yet" in str(error)


def test_a_self_signed_certificate_is_named(authority: trustme.CA) -> None:
    stranger = trustme.CA()
    error = certificate_failure(
        server_tls_with(stranger.private_key_pem, stranger.cert_pem), authority
    )
    assert isinstance(error, SourceCertificateInvalid)
    assert "self-signed" in str(error)


def test_an_incomplete_certificate_chain_is_named(authority: trustme.CA) -> None:
    leaf = authority.create_child_ca().issue_cert("photos.example")
    error = certificate_failure(
        server_tls_with(leaf.private_key_pem, leaf.cert_chain_pems[0]), authority
    )
    assert isinstance(error, SourceCertificateInvalid)
    assert "chain of the image's server is incomplete" in str(error)


def test_a_complete_certificate_chain_is_accepted(authority: trustme.CA) -> None:
    leaf = authority.create_child_ca().issue_cert("photos.example")
    tls = server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems)
    with serving(ok(IMAGE), tls=tls) as source:
        fetcher = fetcher_for(
            source, resolve=resolving(photos_example="127.0.0.1"), tls=client_tls(authority)
        )
        assert fetch(fetcher, source.url(host="photos.example", scheme="https")) == IMAGE


def test_a_certificate_of_a_private_authority_is_named(authority: trustme.CA) -> None:
    company = trustme.CA()
    leaf = company.issue_cert("photos.example")
    tls = server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems, company.cert_pem)
    error = certificate_failure(tls, authority)
    assert isinstance(error, SourceCertificateInvalid)
    assert "authority that is not public" in str(error)


def test_only_public_authorities_are_trusted_by_default(authority: trustme.CA) -> None:
    with serving(ok(IMAGE), tls=server_tls(authority, "127.0.0.1")) as source:
        error = fetch_error(fetcher_for(source, tls=None), source.url(scheme="https"))
    assert isinstance(error, SourceCertificateInvalid)
    assert source.requests == []


def test_a_server_without_tls_is_unreachable() -> None:
    with serving(b"SSH-2.0-OpenSSH_9.2\r\n", reads_head=False) as source:
        error = fetch_error(fetcher_for(source), source.url(scheme="https"))
    assert isinstance(error, SourceUnreachable)
