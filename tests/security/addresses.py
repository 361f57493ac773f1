"""Every way of writing an address, tried on the guarded fetch: where would it have connected?

Nothing is connected to but a server of ours on loopback, which redirects to the form that is tried.
"""

import io
import random
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network

from services.common.errors import SourceError
from services.common.source_url import SourceUrl
from services.worker.fetching.addresses import IPAddress, IPNetwork
from services.worker.fetching.connection import connect_tcp
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher
from tests.worker.fetching.address_forms import (
    EMBEDDINGS,
    HOSTILE_HOSTS,
    HOSTILE_URLS,
    NOT_PUBLIC,
    PERMITTED_ADDRESSES,
    PUBLIC_URLS,
    REFUSED_ADDRESSES,
    words,
)
from tests.worker.fetching.loopback_source import redirect, serving

REDIRECTOR = ip_address("127.66.0.1")
"""Where our own server is: an address on loopback that is among no forms."""
INSIDE, OUTSIDE = ip_address("127.0.0.1"), ip_address("93.184.216.34")
REDIRECTORS_NETWORK = ip_network(f"{REDIRECTOR}/32")
NAMED = "http://photos.example/"
TLS = ssl.create_default_context()  # which takes 50 ms


@dataclass
class AddressFigures:
    """How many forms were tried, and those that were let through or refused by mistake."""

    tried: int = 0
    reached: list[str] = field(default_factory=list)
    public_tried: int = 0
    public_refused: list[str] = field(default_factory=list)


class Connections:
    """Where a fetch wanted to connect to, which it is told is down."""

    def __init__(self) -> None:
        self.wanted: list[IPAddress] = []

    def __call__(self, address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        if address == REDIRECTOR:
            return connect_tcp(address, port, timeout_s)
        self.wanted.append(address)
        raise ConnectionRefusedError


def try_addresses(
    *, wrapped: int, seed: int, networks: Sequence[IPNetwork] = (REDIRECTORS_NETWORK,)
) -> AddressFigures:
    """All forms of the tests, and `wrapped` addresses at random that are not public, in every
    wrapping that IPv6 has for IPv4. `networks` are allowed although they are not public."""
    found = AddressFigures()
    wanted = partial(_wanted, networks)
    wanted_after_redirect = partial(_wanted_after_redirect, networks)
    for url, answer in _hostile(wrapped, random.Random(seed)):
        found.tried += 1
        if wanted(url, answer):
            found.reached.append(f"{url} ({answer})")
    for url in _hostile_urls():
        found.tried += 1
        if wanted_after_redirect(url, INSIDE):
            found.reached.append(f"redirect to {url}")
    for url, answer in _public():
        found.public_tried += 1
        if wanted(url, answer) != [answer]:
            found.public_refused.append(f"{url} ({answer})")
        if not url.isascii():
            continue  # no form for a header (RFC 9110 §10.2.2)
        found.public_tried += 1
        if wanted_after_redirect(url, answer) != [answer]:
            found.public_refused.append(f"redirect to {url} ({answer})")
    return found


def _hostile(wrapped: int, chance: random.Random) -> Iterator[tuple[str, IPAddress]]:
    """URLs, and what a name in them resolves to."""
    for url in _hostile_urls():
        yield url, INSIDE
    for text in words(REFUSED_ADDRESSES):
        yield NAMED, ip_address(text)
    for _ in range(wrapped):
        network = chance.choice(NOT_PUBLIC)
        ipv4 = int(network[chance.randrange(network.num_addresses)])
        for embed in EMBEDDINGS.values():
            address = IPv6Address(embed(ipv4))
            yield NAMED, address
            yield _url_of(str(address)), INSIDE


def _hostile_urls() -> Iterator[str]:
    yield from HOSTILE_URLS
    for host in words(HOSTILE_HOSTS):
        yield f"http://{host}/"
    for address in words(REFUSED_ADDRESSES):
        yield _url_of(address)


def _public() -> Iterator[tuple[str, IPAddress]]:
    """URLs, and the address that has to be connected to."""
    for text in words(PERMITTED_ADDRESSES):
        yield _url_of(text), ip_address(text)
        yield NAMED, ip_address(text)
    for url in PUBLIC_URLS:
        yield url, SourceUrl.parse(url).address or OUTSIDE


def _url_of(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def _wanted(networks: Sequence[IPNetwork], url: str, answer: IPAddress) -> Sequence[IPAddress]:
    """Where a fetch connects to, when a name in `url` resolves to `answer`."""
    connections = Connections()
    fetcher = GuardedFetcher(
        policy=_policy(networks), resolve=lambda _: [answer], connect=connections, tls=TLS
    )
    with suppress(SourceError):
        fetcher.fetch(url, into=io.BytesIO(), timeout_s=20)
    return connections.wanted


def _wanted_after_redirect(
    networks: Sequence[IPNetwork], url: str, answer: IPAddress
) -> Sequence[IPAddress]:
    connections = Connections()
    with serving(redirect(url), host=str(REDIRECTOR)) as source:
        fetcher = GuardedFetcher(
            policy=_policy(networks, source.port),
            resolve=lambda _: [answer],
            connect=connections,
            tls=TLS,
        )
        with suppress(SourceError):
            fetcher.fetch(source.url(host=str(REDIRECTOR)), into=io.BytesIO(), timeout_s=20)
    return connections.wanted


def _policy(networks: Sequence[IPNetwork], *redirector_ports: int) -> FetchPolicy:
    return FetchPolicy(
        max_bytes=1_000,
        timeout_s=20,
        max_redirects=3,
        allowed_ports=(80, 443, *redirector_ports),
        allowed_networks=networks,
    )
