"""Fetchers for tests, and the result or the error of a fetch."""

import io
import re
import ssl
import time
import traceback
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import pytest

from services.common.errors import SourceDeferred, SourceError
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher
from services.worker.fetching.guarded_connection import Connect, connect_tcp
from services.worker.fetching.host_slots import HostSlots
from services.worker.fetching.name_lookup import Resolve, resolve_name
from services.worker.fetching.pacing import HostPacer
from tests.worker.fetching.loopback_source import LoopbackSource

IMAGE = bytes(range(256)) * 400
CONTACT = "https://images.example/robot"
LOOPBACK = "127.0.0.1/32"
TLS = ssl.create_default_context()  # shared, because creating it takes 50 ms


def fetcher_for(
    *sources: LoopbackSource,
    ports: Sequence[int] = (),
    networks: Sequence[str] = (LOOPBACK,),
    max_bytes: int = 200_000,
    timeout_s: float = 20,
    max_redirects: int = 3,
    contact: str = CONTACT,
    resolve: Resolve = resolve_name,
    connect: Connect = connect_tcp,
    tls: ssl.SSLContext | None = TLS,
    clock: Callable[[], float] = time.monotonic,
    pacer: HostPacer | None = None,
    slots: HostSlots | None = None,
) -> GuardedFetcher:
    policy = FetchPolicy(
        max_bytes=max_bytes,
        timeout_s=timeout_s,
        max_redirects=max_redirects,
        allowed_ports=(*(source.port for source in sources), *ports),
        allowed_networks=tuple(map(ip_network, networks)),
        contact=contact,
    )
    return GuardedFetcher(
        policy=policy,
        pacer=pacer,
        slots=slots,
        resolve=resolve,
        connect=connect,
        tls=tls,
        clock=clock,
    )


def fetch(fetcher: GuardedFetcher, url: str, timeout_s: float = 20) -> bytes:
    into = io.BytesIO()
    written = fetcher.fetch(url, into=into, timeout_s=timeout_s)
    assert written == len(into.getvalue())
    return into.getvalue()


def is_deferred(fetcher: GuardedFetcher, url: str) -> bool:
    try:
        fetch(fetcher, url)
    except SourceDeferred:
        return True
    return False


def fetch_error(fetcher: GuardedFetcher, url: str, timeout_s: float = 20) -> SourceError:
    """The error of a fetch. It must contain no secret and suit the client as well as the log."""
    with pytest.raises(SourceError) as caught:
        fetch(fetcher, url, timeout_s)
    reason = str(caught.value)
    assert re.fullmatch(r"The [^\n]+\.", reason)
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|::", reason)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    return caught.value


def resolving(**names: str) -> Resolve:
    """A resolver of these names only. Spaces separate the addresses of a name."""
    return lambda host: [ip_address(text) for text in names[host.replace(".", "_")].split()]
