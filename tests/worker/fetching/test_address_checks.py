"""An image never comes from inside, however its address is written or answered."""

import socket
from ipaddress import ip_address

import pytest

from services.common.errors import SourceAddressBlocked, SourceUnreachable, SourceUrlInvalid
from services.worker.fetching.addresses import IPAddress
from services.worker.fetching.connection import connect_tcp
from tests.worker.fetching.address_forms import HOSTILE_HOSTS, HOSTILE_URLS, words
from tests.worker.fetching.fetch_harness import IMAGE, failure, fetch, fetcher_for, resolving
from tests.worker.fetching.loopback_source import ok, redirect, serving


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
    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=resolving(photos_example=answers))
        error = failure(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert source.connections == 0


def test_a_name_that_changes_its_answer_is_connected_to_where_it_was_checked() -> None:
    asked = []

    def rebinding(host: str) -> list[IPAddress]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with serving(ok(IMAGE)) as source:
        fetched = fetch(
            fetcher_for(source, resolve=rebinding), source.url(host="rebinding.example")
        )
    assert fetched == IMAGE
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
    with serving(ok(b"inside")) as trap, serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(source, resolve=resolving())
        error = failure(fetcher, trap.url(host="photos.example"))
    assert isinstance(error, SourceAddressBlocked)
    assert str(source.port) in str(error)
    assert trap.connections == 0


def test_ipv6_is_reached_under_its_bracketed_name() -> None:
    with serving(ok(IMAGE), host="::1") as source:
        fetched = fetch(fetcher_for(source, networks=("::1/128",)), source.url(host="[::1]"))
    assert fetched == IMAGE
    assert b"\r\nHost: [::1]:%d\r\n" % source.port in source.requests[0]


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with serving(ok(IMAGE)) as source:
        fetcher = fetcher_for(
            source,
            networks=("127.0.0.0/8",),
            resolve=resolving(photos_example="127.0.0.3 127.0.0.2 127.0.0.1"),
        )
        assert fetch(fetcher, source.url(host="photos.example")) == IMAGE


def test_a_name_with_many_dead_addresses_is_given_up() -> None:
    tried = []

    def dead(address: IPAddress, _port: int, _timeout_s: float) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    with serving(ok(IMAGE)) as source:
        addresses = " ".join(f"93.184.216.{last}" for last in range(200))
        fetcher = fetcher_for(source, resolve=resolving(photos_example=addresses), connect=dead)
        error = failure(fetcher, source.url(host="photos.example"))
    assert isinstance(error, SourceUnreachable)
    assert len(tried) == 4
