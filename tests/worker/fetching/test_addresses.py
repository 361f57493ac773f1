"""No packet of ours ends up inside, however the address is wrapped; and the internet is open."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.worker.fetching.addresses import AddressPolicy
from tests.worker.fetching.address_forms import (
    EMBEDDINGS,
    NOT_PUBLIC,
    PERMITTED_ADDRESSES,
    REFUSED_ADDRESSES,
    words,
)

POLICY = AddressPolicy()

IPV6_INTERNET = IPv6Network("2000::/3")
CARRIES_IPV4 = [
    IPv6Network(network)
    for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16")
]

inside = st.sampled_from(NOT_PUBLIC).flatmap(lambda network: st.ip_addresses(network=network))
ipv4 = st.one_of(st.ip_addresses(v=4), inside)


@pytest.mark.parametrize("address", words(REFUSED_ADDRESSES))
def test_an_address_inside_is_refused(address: str) -> None:
    assert not POLICY.permits(ip_address(address))


@pytest.mark.parametrize("address", words(PERMITTED_ADDRESSES))
def test_an_address_of_the_internet_is_permitted(address: str) -> None:
    assert POLICY.permits(ip_address(address))


@given(ipv4)
def test_an_ipv4_address_is_refused_exactly_when_it_is_not_public(address: IPv4Address) -> None:
    assert POLICY.permits(address) is not any(address in network for network in NOT_PUBLIC)


@given(inside, st.sampled_from(sorted(EMBEDDINGS)))
def test_an_ipv4_address_that_is_not_public_is_refused_in_every_wrapping(
    address: IPv4Address, embedding: str
) -> None:
    assert not POLICY.permits(IPv6Address(EMBEDDINGS[embedding](int(address))))


@given(st.ip_addresses(v=4), st.sampled_from(["IPv4-mapped", "NAT64", "6to4", "ISATAP, universal"]))
def test_a_wrapping_in_use_is_judged_by_what_it_carries(
    address: IPv4Address, embedding: str
) -> None:
    wrapped = IPv6Address(EMBEDDINGS[embedding](int(address)))
    assert POLICY.permits(wrapped) is POLICY.permits(address)


@given(st.ip_addresses(v=6))
@example(IPv6Address("3fff:1000::"))
def test_ipv6_is_refused_outside_what_iana_has_given_out(address: IPv6Address) -> None:
    assume(not any(address in network for network in CARRIES_IPV4))
    if address not in IPV6_INTERNET:
        assert not POLICY.permits(address)


@given(st.one_of(ipv4, st.ip_addresses(v=6), st.ip_addresses(network="2001::/16")))
def test_nothing_is_permitted_that_the_standard_library_holds_for_private(
    address: IPv4Address | IPv6Address,
) -> None:
    assume(not any(address in network for network in CARRIES_IPV4))
    assert address.is_global or not POLICY.permits(address)


def test_an_allowed_network_is_permitted_and_nothing_beside_it() -> None:
    policy = AddressPolicy((ip_network("127.0.0.1/32"), ip_network("fd12::/16")))
    assert policy.permits(ip_address("127.0.0.1"))
    assert policy.permits(ip_address("fd12::1"))
    assert policy.permits(ip_address("8.8.8.8"))
    assert not policy.permits(ip_address("127.0.0.2"))
    assert not policy.permits(ip_address("fd13::1"))
    assert not policy.permits(ip_address("169.254.170.2"))
