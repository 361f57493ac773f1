"""A fetch never connects to a private address, whatever the URL, DNS or a redirect says."""

import socket
from ipaddress import ip_address

import pytest

from services.common.errors import SourceAddressBlocked, SourceUnreachable, SourceUrlInvalid
from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.guarded_connection import connect_tcp
from tests.worker.fetching.address_forms import HOSTILE_HOSTS, HOSTILE_URLS, forms_of
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for, resolving
from tests.worker.fetching.loopback_source import ok, redirect, serving


@pytest.mark.parametrize("host", forms_of(HOSTILE_HOSTS))
def test_no_notation_of_a_host_reaches_a_private_address(host: str) -> None:
    with serving(ok(b"private")) as trap:
        fetcher = fetcher_for(trap, networks=(), resolve=lambda _: [ip_address("127.0.0.1")])
        error = fetch_error(fetcher, f"http://{host}:{trap.port}/latest?token=s3cret")
    assert isinstance(error, SourceUrlInvalid | SourceAddressBlocked)
    assert trap.connections == 0


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_no_notation_of_a_url_reaches_a_private_address(url: str) -> None:
    with serving(ok(b"private")) as trap:
        fetcher = fetcher_for(trap, networks=(), resolve=lambda _: [ip_address("127.0.0.1")])
        assert isinstance(fetch_error(fetcher, url), SourceUrlInvalid | SourceAddressBlocked)
    assert trap.connections == 0


def test_a_name_with_a_private_address_is_rejected() -> None:
    with serving(ok(b"private")) as trap:
        error = fetch_error(fetcher_for(trap, networks=()), trap.url(host="localhost"))
    assert isinstance(error, SourceAddressBlocked)
    assert trap.connections == 0


@pytest.mark.parametrize("addresses", ["127.0.0.1 169.254.170.2", "::ffff:10.0.0.1 127.0.0.1"])
def test_a_name_with_public_and_private_addresses_is_rejected(addresses: str) -> None:
    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=resolving(photos_example=addresses))
        error = fetch_error(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert source.connections == 0


def test_a_rebinding_name_is_connected_to_at_the_checked_address() -> None:
    lookups = []

    def rebinding(host: str) -> list[IPAddress]:
        lookups.append(host)
        return [ip_address("127.0.0.1" if len(lookups) == 1 else "127.0.0.2")]

    with serving(ok(IMAGE)) as source:
        fetched = fetch(
            fetcher_for(source, resolve=rebinding), source.url(host="rebinding.example")
        )
    assert fetched == IMAGE
    assert lookups == ["rebinding.example"]


def test_a_rebinding_name_is_checked_again_after_a_redirect() -> None:
    addresses = iter(["127.0.0.1", "127.0.0.2"])
    with serving(redirect("/again"), ok(b"private")) as source:
        fetcher = fetcher_for(source, resolve=lambda _: [ip_address(next(addresses))])
        error = fetch_error(fetcher, source.url(host="rebinding.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert source.connections == 1


def test_a_connection_with_another_peer_is_closed_before_a_request() -> None:
    with serving(ok(b"private")) as trap:

        def connect_elsewhere(_: IPAddress, port: int, timeout_s: float) -> socket.socket:
            return connect_tcp(ip_address("127.0.0.1"), port, timeout_s)

        fetcher = fetcher_for(
            trap, resolve=resolving(photos_example="93.184.216.34"), connect=connect_elsewhere
        )
        error = fetch_error(fetcher, trap.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert trap.requests == []


def test_a_port_that_is_not_allowed_is_rejected_before_the_lookup() -> None:
    with serving(ok(b"private")) as trap, serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=resolving())
        error = fetch_error(fetcher, trap.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert str(source.port) in str(error)
    assert trap.connections == 0


def test_an_ipv6_address_in_brackets_is_reached() -> None:
    with serving(ok(IMAGE), host="::1") as source:
        fetched = fetch(fetcher_for(source, networks=("::1/128",)), source.url(host="[::1]"))
    assert fetched == IMAGE
    assert b"\r\nHost: [::1]:%d\r\n" % source.port in source.requests[0]


def test_the_next_address_is_tried_when_one_does_not_respond() -> None:
    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(
            source,
            networks=("127.0.0.0/8",),
            resolve=resolving(photos_example="127.0.0.3 127.0.0.2 127.0.0.1"),
        )
        assert fetch(fetcher, source.url(host="photos.example")) == IMAGE


def test_only_four_addresses_of_a_name_are_tried() -> None:
    tried = []

    def refuse(address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    with serving(ok(IMAGE)) as source:
        addresses = " ".join(f"93.184.216.{last}" for last in range(200))
        fetcher = fetcher_for(source, resolve=resolving(photos_example=addresses), connect=refuse)
        error = fetch_error(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceUnreachable)
    assert len(tried) == 4
