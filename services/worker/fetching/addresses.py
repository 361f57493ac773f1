"""Which IP addresses a stranger's URL may lead us to. Pure: no name is looked up here.

The table is ssrfguard's, made from IANA's special-purpose registries; it also unwraps
IPv4-mapped and IPv4-compatible addresses, NAT64, 6to4 and Teredo, because the question is not
whether an address is routable but where its packets end up. Added here is what it lets through.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ssrfguard import DEFAULT_DENIED, AddressTable, Block, Reach

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_OUR_BLOCKS = (
    # IANA has given out global unicast addresses from 2000::/3 only, so everything else that no
    # more specific row decides is refused: SIIT's ::ffff:0:a.b.c.d (RFC 2765) among the rest.
    Block(IPv6Network("::/0"), "Not global unicast", "RFC 4291", Reach.DENIED),
    Block(IPv6Network("2000::/3"), "Global unicast", "RFC 4291", Reach.PERMITTED),
    # A public address that answers from inside: Azure's host, to any virtual machine on it.
    Block(IPv4Network("168.63.129.16/32"), "Azure WireServer", "Microsoft", Reach.DENIED),
)

_TABLE = AddressTable(
    (
        # The registries' exceptions are services of the network one is in (PCP and TURN anycast)
        # or identifiers (ORCHIDv2, DETs). No image is served there, so the block around decides.
        *(block for block in DEFAULT_DENIED.blocks if block.reach is not Reach.PERMITTED),
        *_OUR_BLOCKS,
    )
)

_ISATAP_INTERFACE = 0x0000_5EFE
"""RFC 5214 §6.1: the upper half of the interface identifier, under any prefix; the lower half is
the IPv4 address."""
_UNIVERSAL_BIT = 0x0200_0000
"""Set in it when that IPv4 address is held to be globally unique."""


@dataclass(frozen=True)
class AddressPolicy:
    """Public addresses, and those of ``allowed_networks``, which only local tools fill."""

    allowed_networks: tuple[IPNetwork, ...] = ()

    def permits(self, address: IPAddress) -> bool:
        """Whether a connection to the address may be opened."""
        return any(address in network for network in self.allowed_networks) or _is_public(address)


def _is_public(address: IPAddress) -> bool:
    if _TABLE.classify(address).blocked:
        return False
    embedded = _isatap_ipv4(address)
    return embedded is None or _is_public(embedded)


def _isatap_ipv4(address: IPAddress) -> IPv4Address | None:
    interface = int(address) & (2**64 - 1) if isinstance(address, IPv6Address) else 0
    if (interface >> 32) & ~_UNIVERSAL_BIT != _ISATAP_INTERFACE:
        return None
    return IPv4Address(interface & (2**32 - 1))
