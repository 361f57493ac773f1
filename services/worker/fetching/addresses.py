"""The IP addresses that an untrusted URL may lead to. This module looks up no names.

The table is ssrfguard's, which follows IANA's special-purpose registries. It also unwraps
IPv4-mapped and IPv4-compatible addresses, NAT64, 6to4 and Teredo, because packets to such an
address may end up at the IPv4 address inside it. This module blocks what ssrfguard still permits.
"""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ssrfguard import DEFAULT_DENIED, AddressTable, Block, Reach

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_OUR_BLOCKS = (
    # IANA allocates global unicast addresses from 2000::/3 only. All others are blocked unless a
    # more specific row permits them. This includes SIIT's ::ffff:0:a.b.c.d (RFC 2765).
    Block(IPv6Network("::/0"), "Not global unicast", "RFC 4291", Reach.DENIED),
    Block(IPv6Network("2000::/3"), "Global unicast", "RFC 4291", Reach.PERMITTED),
    # A public address of a private service: Azure's hosts serve their virtual machines on it.
    Block(IPv4Network("168.63.129.16/32"), "Azure WireServer", "Microsoft", Reach.DENIED),
)

_BLOCKS = (
    # The registries' exceptions are services of the local network (PCP and TURN anycast) or
    # identifiers (ORCHIDv2, DETs). They serve no images, so the surrounding block applies.
    *(block for block in DEFAULT_DENIED.blocks if block.reach is not Reach.PERMITTED),
    *_OUR_BLOCKS,
)

_ISATAP_INTERFACE = 0x0000_5EFE
"""The upper half of the interface identifier under any prefix (RFC 5214 §6.1). The lower half is
the IPv4 address."""
_UNIVERSAL_BIT = 0x0200_0000
"""Set in the upper half if the IPv4 address is globally unique."""


@dataclass(frozen=True)
class AddressPolicy:
    """Permits public addresses outside ``denied_networks``, and ``allowed_networks``.

    Only local tools set ``allowed_networks``.
    """

    allowed_networks: tuple[IPNetwork, ...] = ()
    denied_networks: tuple[IPNetwork, ...] = ()

    def permits(self, address: IPAddress) -> bool:
        """Whether a fetch may connect to the address."""
        if any(address in network for network in self.allowed_networks):
            return True
        return self._is_public(address)

    def _is_public(self, address: IPAddress) -> bool:
        if self._table.classify(address).blocked:
            return False
        embedded = _isatap_ipv4(address)
        return embedded is None or self._is_public(embedded)

    @cached_property
    def _table(self) -> AddressTable:
        """In the table, a denied network also covers IPv6 addresses that contain its addresses."""
        denied = (
            Block(network, "Denied by the deployment", "FETCH_DENIED_NETWORKS", Reach.DENIED)
            for network in self.denied_networks
        )
        by_network = {block.network: block for block in (*_BLOCKS, *denied)}
        return AddressTable(tuple(by_network.values()))


def _isatap_ipv4(address: IPAddress) -> IPv4Address | None:
    interface = int(address) & (2**64 - 1) if isinstance(address, IPv6Address) else 0
    if (interface >> 32) & ~_UNIVERSAL_BIT != _ISATAP_INTERFACE:
        return None
    return IPv4Address(interface & (2**32 - 1))
