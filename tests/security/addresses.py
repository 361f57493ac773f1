"""All notations of addresses, tried on the guarded fetcher to see where it would connect.

The fetcher connects only to a redirecting server on loopback. All other connections are recorded
and refused.
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
from services.common.version import PROJECT_PAGE
from services.worker.fetching.addresses import IPAddress, IPNetwork
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher
from services.worker.fetching.guarded_connection import connect_tcp
from tests.worker.fetching.address_forms import (
    BLOCKED_ADDRESSES,
    EMBEDDINGS,
    HOSTILE_HOSTS,
    HOSTILE_URLS,
    NOT_PUBLIC,
    PERMITTED_ADDRESSES,
    PUBLIC_URLS,
    forms_of,
)
from tests.worker.fetching.loopback_source import redirect, serving

REDIRECTOR = ip_address("127.66.0.1")
"""The address of the redirecting server, which is none of the tried ones."""
PRIVATE, PUBLIC = ip_address("127.0.0.1"), ip_address("93.184.216.34")
REDIRECTOR_NETWORK = ip_network(f"{REDIRECTOR}/32")
NAMED_URL = "http://photos.example/"
TLS = ssl.create_default_context()  # shared, because creating it takes 50 ms


@dataclass
class AddressFigures:
    """How many forms were tried, which private ones were reached, which public ones refused."""

    tried: int = 0
    reached: list[str] = field(default_factory=list)
    public_tried: int = 0
    public_refused: list[str] = field(default_factory=list)


class ConnectionRecorder:
    """Records the addresses that a fetch connects to, and refuses the connections."""

    def __init__(self) -> None:
        self.addresses: list[IPAddress] = []

    def __call__(self, address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        if address == REDIRECTOR:
            return connect_tcp(address, port, timeout_s)
        self.addresses.append(address)
        raise ConnectionRefusedError


def try_addresses(
    *, wrapped: int, seed: int, networks: Sequence[IPNetwork] = (REDIRECTOR_NETWORK,)
) -> AddressFigures:
    """Try all forms of the tests, and `wrapped` random private IPv4 addresses in each embedding.

    `networks` are allowed although they are not public.
    """
    figures = AddressFigures()
    connections = partial(_connections, networks)
    connections_after_redirect = partial(_connections_after_redirect, networks)
    for url, resolved in _hostile(wrapped, random.Random(seed)):
        figures.tried += 1
        if connections(url, resolved):
            figures.reached.append(f"{url} ({resolved})")
    for url in _hostile_urls():
        figures.tried += 1
        if connections_after_redirect(url, PRIVATE):
            figures.reached.append(f"redirect to {url}")
    for url, address in _public():
        figures.public_tried += 1
        if connections(url, address) != [address]:
            figures.public_refused.append(f"{url} ({address})")
        if not url.isascii():
            continue  # a Location header must be ASCII (RFC 9110 §10.2.2)
        figures.public_tried += 1
        if connections_after_redirect(url, address) != [address]:
            figures.public_refused.append(f"redirect to {url} ({address})")
    return figures


def _hostile(wrapped: int, chance: random.Random) -> Iterator[tuple[str, IPAddress]]:
    """URLs, each with the address that its host name resolves to."""
    for url in _hostile_urls():
        yield url, PRIVATE
    for text in forms_of(BLOCKED_ADDRESSES):
        yield NAMED_URL, ip_address(text)
    for _ in range(wrapped):
        network = chance.choice(NOT_PUBLIC)
        ipv4 = int(network[chance.randrange(network.num_addresses)])
        for embed in EMBEDDINGS.values():
            address = IPv6Address(embed(ipv4))
            yield NAMED_URL, address
            yield _url_of(str(address)), PRIVATE


def _hostile_urls() -> Iterator[str]:
    yield from HOSTILE_URLS
    for host in forms_of(HOSTILE_HOSTS):
        yield f"http://{host}/"
    for address in forms_of(BLOCKED_ADDRESSES):
        yield _url_of(address)


def _public() -> Iterator[tuple[str, IPAddress]]:
    """URLs, each with the address that must be connected to."""
    for text in forms_of(PERMITTED_ADDRESSES):
        yield _url_of(text), ip_address(text)
        yield NAMED_URL, ip_address(text)
    for url in PUBLIC_URLS:
        yield url, SourceUrl.parse(url).address or PUBLIC


def _url_of(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


def _connections(
    networks: Sequence[IPNetwork], url: str, resolved: IPAddress
) -> Sequence[IPAddress]:
    """The addresses that a fetch connects to, if a name in `url` resolves to `resolved`."""
    recorder = ConnectionRecorder()
    fetcher = GuardedFetcher(
        policy=_policy(networks), resolve=lambda _: [resolved], connect=recorder, tls=TLS
    )
    with suppress(SourceError):
        fetcher.fetch(url, into=io.BytesIO(), timeout_s=20)
    return recorder.addresses


def _connections_after_redirect(
    networks: Sequence[IPNetwork], url: str, resolved: IPAddress
) -> Sequence[IPAddress]:
    recorder = ConnectionRecorder()
    with serving(redirect(url), host=str(REDIRECTOR)) as source:
        fetcher = GuardedFetcher(
            policy=_policy(networks, source.port),
            resolve=lambda _: [resolved],
            connect=recorder,
            tls=TLS,
        )
        with suppress(SourceError):
            fetcher.fetch(source.url(host=str(REDIRECTOR)), into=io.BytesIO(), timeout_s=20)
    return recorder.addresses


def _policy(networks: Sequence[IPNetwork], *redirector_ports: int) -> FetchPolicy:
    return FetchPolicy(
        max_bytes=1_000,
        timeout_s=20,
        max_redirects=3,
        allowed_ports=(80, 443, *redirector_ports),
        allowed_networks=networks,
        contact=PROJECT_PAGE,
    )
