"""Fetching an image from an untrusted URL, within limits on addresses, time and size."""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from urllib3 import HTTPHeaderDict, HTTPResponse

from services.common.clock import utc_now
from services.common.errors import (
    SourceNeedsCookies,
    SourceRefused,
    SourceTooLarge,
    SourceTooManyRedirects,
    SourceUnreachable,
    SourceUrlInvalid,
)
from services.common.source_url import SourceUrl
from services.common.version import VERSION
from services.worker.fetching.addresses import AddressPolicy, IPNetwork
from services.worker.fetching.content_encoding import declared_encodings, decode
from services.worker.fetching.deadline import Deadline
from services.worker.fetching.failures import as_source_errors, retry_after, status_error
from services.worker.fetching.guarded_connection import (
    Connect,
    GuardedConnection,
    GuardedConnector,
    connect_tcp,
)
from services.worker.fetching.host_slots import HostSlots
from services.worker.fetching.name_lookup import Resolve, resolve_name
from services.worker.fetching.pacing import HostPacer

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
"""All headers of a request, except Host and User-Agent."""

_CHUNK_BYTES = 65_536
_FRAMING_BYTES = 1_000_000
"""Allowed in addition to ``max_bytes``: headers, interim responses (1xx), chunk sizes, trailers."""

_IMAGE = {HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION}
_REFUSALS = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_REDIRECTS = {301, 302, 303, 307, 308}


class Writable(Protocol):
    """Where the body of a download goes."""

    def write(self, chunk: bytes, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """The limits of one fetch. ``services.common.config`` has the defaults."""

    max_bytes: int
    """Size of the body, after its content encoding is decoded."""
    timeout_s: float
    """For the whole fetch: lookups, connections, redirects and body."""
    max_redirects: int
    allowed_ports: Sequence[int]
    allowed_networks: Sequence[IPNetwork]
    """Networks that are reachable although they are not public. Only local tools set them."""
    contact: str
    """How the operator of a server reaches us: a web page or an e-mail address."""
    denied_networks: Sequence[IPNetwork] = ()
    """Networks that are not reachable although they are public."""


class GuardedFetcher:
    """Fetches under a policy. Thread-safe.

    Without a `pacer` or `slots`, hosts that refuse requests or are slow are treated as others.
    """

    def __init__(
        self,
        *,
        policy: FetchPolicy,
        pacer: HostPacer | None = None,
        slots: HostSlots | None = None,
        resolve: Resolve = resolve_name,
        connect: Connect = connect_tcp,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policy = policy
        self._pacer = pacer
        self._slots = slots
        self._clock = clock
        self._now = now
        self._headers = {
            "User-Agent": f"Taskfleet/{VERSION} ({_as_reference(policy.contact)})",
            **_HEADERS,
        }
        self._connector = GuardedConnector(
            addresses=AddressPolicy(
                allowed_networks=tuple(policy.allowed_networks),
                denied_networks=tuple(policy.denied_networks),
            ),
            ports=policy.allowed_ports,
            resolve=resolve,
            connect=connect,
            tls=tls or ssl.create_default_context(),
        )

    def fetch(self, url: str, *, into: Writable, timeout_s: float) -> int:
        """Write the body of ``url`` to a file and return the number of bytes.

        ``timeout_s`` applies if it is shorter than the policy's timeout. Raises SourceError or
        SourceDeferred, whose message is a sentence for the client that contains no part of the URL
        and no address, or any error of ``into``. After an error, the file may contain a part of the
        body.
        """
        deadline = Deadline(min(timeout_s, self._policy.timeout_s), clock=self._clock)
        source = _parse(url)
        trail = _RedirectTrail()
        for _ in range(1 + self._policy.max_redirects):
            with self._get(source, deadline) as response:
                if response.status not in _REDIRECTS:
                    return self._store(response, into)
                source = trail.follow(source, response)
        raise SourceTooManyRedirects(
            f"The image's server redirected more than {self._policy.max_redirects} times."
        )

    @contextmanager
    def _get(self, url: SourceUrl, deadline: Deadline) -> Iterator[HTTPResponse]:
        host = f"{url.host}:{url.port}"
        with self._slots.hold(host) if self._slots else nullcontext():
            asked_at = self._pacer.wait_for_turn(host) if self._pacer else 0.0
            with self._exchange(url, deadline) as response:
                if self._pacer:
                    self._keep_pace(self._pacer, host, asked_at, response)
                yield response

    @contextmanager
    def _exchange(self, url: SourceUrl, deadline: Deadline) -> Iterator[HTTPResponse]:
        with as_source_errors():
            connection = self._connector.open(
                url,
                deadline=deadline,
                max_response_bytes=self._policy.max_bytes + _FRAMING_BYTES,
            )
        with closing(connection):
            with as_source_errors():
                response = self._send_request(connection, url)
            with closing(response):
                yield response

    def _keep_pace(
        self, pacer: HostPacer, host: str, asked_at: float, response: HTTPResponse
    ) -> None:
        if response.status in _REFUSALS:
            retry_after_s = retry_after(response, now=self._now())
            pacer.refused(host, asked_at=asked_at, retry_after_s=retry_after_s)
        else:
            pacer.answered(host)

    def _store(self, response: HTTPResponse, into: Writable) -> int:
        if response.status not in _IMAGE:
            raise status_error(response, now=self._now())
        self._check_size(response.length_remaining or 0)  # from Content-Length
        written = 0
        for chunk in self._body(response):
            written += len(chunk)
            self._check_size(written)
            into.write(chunk)
        if not written and response.length_remaining is None:
            # http.client accepts truncated headers as complete, so the body may be missing.
            raise SourceUnreachable(
                "The image's server closed the connection before it sent the image."
            )
        return written

    def _send_request(self, connection: GuardedConnection, url: SourceUrl) -> HTTPResponse:
        connection.request("GET", url.target, headers=self._headers)
        response = connection.getresponse()
        return HTTPResponse(  # reads chunks and checks lengths
            body=response,
            headers=HTTPHeaderDict(response.headers.items()),
            status=response.status,
            original_response=response,
            preload_content=False,
        )

    def _body(self, response: HTTPResponse) -> Iterator[bytes]:
        with as_source_errors():
            yield from decode(
                response.stream(_CHUNK_BYTES, decode_content=False),
                declared_encodings(response.headers.get("content-encoding")),
                max_bytes=self._policy.max_bytes,
            )

    def _check_size(self, size: int) -> None:
        if size > self._policy.max_bytes:
            raise SourceTooLarge(
                f"The image is larger than the {self._policy.max_bytes:,} bytes allowed."
            )


def _as_reference(contact: str) -> str:
    """The contact as robots write it, with a plus sign before a web page."""
    return f"+{contact}" if contact.startswith(("http://", "https://")) else contact


def _parse(url: str) -> SourceUrl:
    try:
        return SourceUrl.parse(url)
    except ValueError as error:
        raise SourceUrlInvalid(str(error)) from error


class _RedirectTrail:
    """The URLs of one fetch, to recognize a circle that only a cookie would end."""

    def __init__(self) -> None:
        self._visited: set[SourceUrl] = set()
        self._sets_cookies = False

    def follow(self, url: SourceUrl, response: HTTPResponse) -> SourceUrl:
        """The target of a redirect. Raises SourceError if there is none or cookies are needed."""
        self._visited.add(url)
        self._sets_cookies |= "set-cookie" in response.headers
        target = _redirect_target(url, response)
        if self._sets_cookies and target in self._visited:
            raise SourceNeedsCookies(
                "The image's server sets a cookie and redirects back to the same URL. It probably "
                "delivers the image to browsers only, because Taskfleet sends no cookies."
            )
        return target


def _redirect_target(url: SourceUrl, response: HTTPResponse) -> SourceUrl:
    location = response.headers.get("location")
    if location is None:
        raise SourceRefused("The image's server sent a redirect without a target.")
    try:
        return url.join(location)
    except ValueError as error:
        raise SourceUrlInvalid(
            "The image's server redirected to something that is not a valid http or https URL."
        ) from error
