"""The address policy blocks private addresses in every notation and permits public ones."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.worker.fetching.addresses import AddressPolicy
from tests.worker.fetching.address_forms import (
    BLOCKED_ADDRESSES,
    EMBEDDINGS,
    NOT_PUBLIC,
    PERMITTED_ADDRESSES,
    forms_of,
)

POLICY = AddressPolicy()

IPV6_INTERNET = IPv6Network("2000::/3")
IPV4_EMBEDDING_NETWORKS = [
    IPv6Network(network)
    for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16")
]

private_ipv4 = st.sampled_from(NOT_PUBLIC).flatmap(lambda network: st.ip_addresses(network=network))
ipv4 = st.one_of(st.ip_addresses(v=4), private_ipv4)


@pytest.mark.parametrize("address", forms_of(BLOCKED_ADDRESSES))
def test_a_private_address_is_blocked(address: str) -> None:
    assert not POLICY.permits(ip_address(address))


@pytest.mark.parametrize("address", forms_of(PERMITTED_ADDRESSES))
def test_a_public_address_is_permitted(address: str) -> None:
    assert POLICY.permits(ip_address(address))


@given(ipv4)
def test_an_ipv4_address_is_permitted_exactly_when_it_is_public(address: IPv4Address) -> None:
    assert POLICY.permits(address) is not any(address in network for network in NOT_PUBLIC)


@given(private_ipv4, st.sampled_from(sorted(EMBEDDINGS)))
def test_a_private_ipv4_address_is_blocked_in_every_ipv6_embedding(
    address: IPv4Address, embedding: str
) -> None:
    assert not POLICY.permits(IPv6Address(EMBEDDINGS[embedding](int(address))))


@given(st.ip_addresses(v=4), st.sampled_from(["IPv4-mapped", "NAT64", "6to4", "ISATAP, universal"]))
def test_an_embedding_is_permitted_exactly_when_its_ipv4_address_is(
    address: IPv4Address, embedding: str
) -> None:
    embedded = IPv6Address(EMBEDDINGS[embedding](int(address)))
    assert POLICY.permits(embedded) is POLICY.permits(address)


@given(st.ip_addresses(v=6))
@example(IPv6Address("3fff:1000::"))
def test_ipv6_is_blocked_outside_the_range_that_iana_allocates(address: IPv6Address) -> None:
    assume(not any(address in network for network in IPV4_EMBEDDING_NETWORKS))
    if address not in IPV6_INTERNET:
        assert not POLICY.permits(address)


@given(st.one_of(ipv4, st.ip_addresses(v=6), st.ip_addresses(network="2001::/16")))
def test_no_address_is_permitted_that_the_standard_library_calls_private(
    address: IPv4Address | IPv6Address,
) -> None:
    assume(not any(address in network for network in IPV4_EMBEDDING_NETWORKS))
    assert address.is_global or not POLICY.permits(address)


def test_an_allowed_network_is_permitted_and_its_neighbors_are_not() -> None:
    policy = AddressPolicy((ip_network("127.0.0.1/32"), ip_network("fd12::/16")))
    assert policy.permits(ip_address("127.0.0.1"))
    assert policy.permits(ip_address("fd12::1"))
    assert policy.permits(ip_address("8.8.8.8"))
    assert not policy.permits(ip_address("127.0.0.2"))
    assert not policy.permits(ip_address("fd13::1"))
    assert not policy.permits(ip_address("169.254.170.2"))


@pytest.mark.parametrize("embedding", ["IPv4-mapped", "NAT64", "6to4", "ISATAP, universal"])
def test_a_denied_network_is_blocked_in_every_notation(embedding: str) -> None:
    policy = AddressPolicy(denied_networks=(ip_network("8.8.8.0/24"), ip_network("10.0.0.0/8")))
    denied, neighbor = ip_address("8.8.8.8"), ip_address("8.8.9.8")

    assert not policy.permits(denied)
    assert not policy.permits(IPv6Address(EMBEDDINGS[embedding](int(denied))))
    assert policy.permits(neighbor)
    assert policy.permits(IPv6Address(EMBEDDINGS[embedding](int(neighbor))))
