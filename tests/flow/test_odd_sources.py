"""Servers with odd habits: a task completes wherever the image is there, or ends at once."""

import gzip
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from services.common.source_url import MAX_LENGTH
from tests.flow.source import FlowSource, png
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import ok, redirect, response_head
from tests.worker.fetching.test_tls import server_tls_with

NOW = datetime.now(UTC)
PNG = png()

DELIVERED: dict[str, tuple[bytes, ...]] = {
    "no length": (b"HTTP/1.0 200 OK\r\n\r\n" + PNG,),
    "203": (response_head(203, f"Content-Length: {len(PNG)}") + PNG,),
    "interim responses": (response_head(103, "Link: </a>") + ok(PNG),),
    "gzip": (ok(gzip.compress(PNG), "Content-Encoding: gzip"),),
    "raw deflate": (ok(zlib.compress(PNG)[2:-4], "Content-Encoding: deflate"),),
    "gzip, only declared": (ok(PNG, "Content-Encoding: gzip"),),
    "gzip, declared twice": (ok(gzip.compress(PNG), "Content-Encoding: gzip, gzip"),),
    "br, only declared": (ok(PNG, "Content-Encoding: br"),),
    "aws-chunked, only declared": (ok(PNG, "Content-Encoding: aws-chunked"),),
    "a wrong content type": (ok(PNG, "Content-Type: text/html"),),
    "a redirect with a cookie": (
        response_head(302, "Location: image?again", "Set-Cookie: a=1", "Content-Length: 0"),
        ok(PNG),
    ),
    "202, then the image": (response_head(202, "Retry-After: 1", "Content-Length: 0"), ok(PNG)),
    "429, then the image": (response_head(429, "Retry-After: 1", "Content-Length: 0"), ok(PNG)),
}


@pytest.mark.parametrize("responses", DELIVERED.values(), ids=DELIVERED)
def test_the_task_completes(
    system: DeployedSystem, source: FlowSource, responses: tuple[bytes, ...]
) -> None:
    task = system.wait_until_final(system.submit(source.url(*responses)))
    assert task["status"] == "COMPLETED", task


def test_a_url_of_the_maximum_length_is_processed(
    system: DeployedSystem, source: FlowSource
) -> None:
    url = source.url(ok(PNG))
    task = system.wait_until_final(system.submit(url + "x" * (MAX_LENGTH - len(url))))
    assert task["status"] == "COMPLETED", task


REFUSED: dict[str, tuple[tuple[bytes, ...], str, str]] = {
    "br": (
        (ok(b"\x1b\x03brotli", "Content-Encoding: br"),),
        "source_encoding_not_supported",
        "content encoding br",
    ),
    "zstd": (
        (ok(b"\x28\xb5\x2f\xfd", "Content-Encoding: zstd"),),
        "source_encoding_not_supported",
        "content encoding zstd",
    ),
    "a cookie wall": (
        (response_head(302, "Location: image?again", "Set-Cookie: a=1", "Content-Length: 0"),),
        "source_needs_cookies",
        "sends no cookies",
    ),
    "an endless redirect": ((redirect("image?again"),), "source_too_many_redirects", "3 times"),
    "202 for good": ((response_head(202, "Content-Length: 0"),), "source_refused", "status 202"),
    "a redirect to a file": (
        (redirect("file:///etc/passwd"),),
        "source_url_invalid",
        "not a valid http or https URL",
    ),
    "another port": (
        (redirect("http://127.0.0.1:9/image"),),
        "source_address_blocked",
        "port is not allowed",
    ),
}


@pytest.mark.parametrize(("responses", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_the_task_fails_at_the_first_failure(
    system: DeployedSystem,
    source: FlowSource,
    responses: tuple[bytes, ...],
    code: str,
    reason: str,
) -> None:
    task = system.wait_until_final(system.submit(source.url(*responses)))
    assert (task["status"], task["failureCode"]) == ("FAILED", code), task
    assert reason in task["failureReason"]
    # Its attempts may be more: the host of all sources may be paced because of an earlier test.
    assert system.source_failures(task["taskId"]) == 1


# ── Certificates ──────────────────────────────────────────────────────────────────────────────


def chained(authority: trustme.CA) -> ssl.SSLContext:
    leaf = authority.create_child_ca().issue_cert("127.0.0.1")
    return server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems)


def incomplete(authority: trustme.CA) -> ssl.SSLContext:
    leaf = authority.create_child_ca().issue_cert("127.0.0.1")
    return server_tls_with(leaf.private_key_pem, leaf.cert_chain_pems[0])


def expired(authority: trustme.CA) -> ssl.SSLContext:
    leaf = authority.issue_cert("127.0.0.1", not_after=NOW - timedelta(days=1))
    return server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems)


def self_signed(_: trustme.CA) -> ssl.SSLContext:
    stranger = trustme.CA()
    return server_tls_with(stranger.private_key_pem, stranger.cert_pem)


def of_a_private_authority(_: trustme.CA) -> ssl.SSLContext:
    stranger = trustme.CA()
    leaf = stranger.issue_cert("127.0.0.1")
    return server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems, stranger.cert_pem)


def for_another_host(authority: trustme.CA) -> ssl.SSLContext:
    leaf = authority.issue_cert("127.0.0.2")
    return server_tls_with(leaf.private_key_pem, *leaf.cert_chain_pems)


def test_a_complete_certificate_chain_is_accepted(
    system: DeployedSystem, source: FlowSource, authority: trustme.CA
) -> None:
    with source.tls(chained(authority)):
        task = system.wait_until_final(system.submit(source.url(ok(PNG), scheme="https")))
    assert task["status"] == "COMPLETED", task


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (incomplete, "chain of the image's server is incomplete"),
        (expired, "has expired"),
        (self_signed, "self-signed"),
        (of_a_private_authority, "authority that is not public"),
        (for_another_host, "for another IP address"),
    ],
)
def test_a_certificate_that_proves_nothing_fails_the_task_at_the_first_attempt(
    system: DeployedSystem,
    source: FlowSource,
    authority: trustme.CA,
    certificate: Callable[[trustme.CA], ssl.SSLContext],
    reason: str,
) -> None:
    with source.tls(certificate(authority)):
        task = system.wait_until_final(system.submit(source.url(ok(PNG), scheme="https")))
    assert (task["failureCode"], task["attempt"]) == ("source_certificate_invalid", 1), task
    assert reason in task["failureReason"]
