"""Fetching an image from an untrusted URL, within limits on addresses, time and size."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import BinaryIO

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError

from services.common.clock import utc_now
from services.common.errors import (
    SourceAddressBlocked,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceTooManyRedirects,
    SourceUnavailable,
    SourceUnreachable,
    SourceUrlInvalid,
)
from services.common.source_url import SourceUrl
from services.worker.fetching.addresses import AddressPolicy, IPNetwork
from services.worker.fetching.connection import (
    Connect,
    ConnectionNotAllowed,
    GuardedConnection,
    GuardedConnector,
    ResponseTooLarge,
    connect_tcp,
)
from services.worker.fetching.deadline import Deadline
from services.worker.fetching.name_lookup import Resolve, resolve_name
from services.worker.fetching.retry_after import parse_retry_after

_HEADERS = {
    "User-Agent": "Taskfleet",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
"""All headers of a request, except Host."""

_CHUNK_BYTES = 65_536
_FRAMING_BYTES = 1_000_000
"""Allowed in addition to ``max_bytes``: headers, interim responses (1xx), chunk sizes, trailers."""

_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_FOUND = {404, 410}
_TEMPORARY = {408, 425, 429}


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


class GuardedFetcher:
    """Fetches under a policy. Stateless, so threads may share it."""

    def __init__(
        self,
        *,
        policy: FetchPolicy,
        resolve: Resolve = resolve_name,
        connect: Connect = connect_tcp,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._now = now
        self._connector = GuardedConnector(
            addresses=AddressPolicy(tuple(policy.allowed_networks)),
            ports=policy.allowed_ports,
            resolve=resolve,
            connect=connect,
            tls=tls or ssl.create_default_context(),
        )

    def fetch(self, url: str, *, into: BinaryIO, timeout_s: float) -> int:
        """Write the body of ``url`` to a file and return the number of bytes.

        ``timeout_s`` applies if it is shorter than the policy's timeout. Raises SourceError, whose
        message is a sentence for the client that contains no part of the URL and no address, or any
        error of ``into``. After an error, the file may contain a part of the body.
        """
        deadline = Deadline(min(timeout_s, self._policy.timeout_s), clock=self._clock)
        source = _parse(url)
        for _ in range(1 + self._policy.max_redirects):
            with self._get(source, deadline) as response:
                if response.status not in _REDIRECTS:
                    return self._store(response, into)
                source = _redirect_target(source, response)
        raise SourceTooManyRedirects(
            f"The image's server redirected more than {self._policy.max_redirects} times."
        )

    @contextmanager
    def _get(self, url: SourceUrl, deadline: Deadline) -> Iterator[HTTPResponse]:
        with _as_source_errors():
            connection = self._connector.open(
                url,
                deadline=deadline,
                max_response_bytes=self._policy.max_bytes + _FRAMING_BYTES,
            )
        with closing(connection):
            with _as_source_errors():
                response = _send_request(connection, url)
            with closing(response):
                yield response

    def _store(self, response: HTTPResponse, into: BinaryIO) -> int:
        if response.status != HTTPStatus.OK:
            raise self._status_error(response)
        self._check_size(response.length_remaining or 0)  # from Content-Length
        written = 0
        for chunk in _body(response):
            written += len(chunk)
            self._check_size(written)
            into.write(chunk)
        if not written and response.length_remaining is None:
            # http.client accepts truncated headers as complete, so the body may be missing.
            raise SourceUnreachable(
                "The image's server closed the connection before it sent the image."
            )
        return written

    def _status_error(self, response: HTTPResponse) -> SourceError:
        status = response.status
        if status in _NOT_FOUND:
            return SourceNotFound(f"The image's server has no such image (status {status}).")
        retry_after_s = parse_retry_after(response.headers.get("retry-after"), now=self._now())
        if status == HTTPStatus.ACCEPTED and retry_after_s is not None:
            return SourceUnavailable(
                f"The image's server has not produced the image yet (status {status}).",
                retry_after_s=retry_after_s,
            )
        if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnavailable(
                f"The image's server is unavailable (status {status}).", retry_after_s=retry_after_s
            )
        return SourceRefused(f"The image's server did not deliver the image (status {status}).")

    def _check_size(self, size: int) -> None:
        if size > self._policy.max_bytes:
            raise SourceTooLarge(
                f"The image is larger than the {self._policy.max_bytes:,} bytes allowed."
            )


def _parse(url: str) -> SourceUrl:
    try:
        return SourceUrl.parse(url)
    except ValueError as error:
        raise SourceUrlInvalid(str(error)) from error


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


def _send_request(connection: GuardedConnection, url: SourceUrl) -> HTTPResponse:
    connection.request("GET", url.target, headers=_HEADERS)
    response = connection.getresponse()
    return HTTPResponse(  # decodes content encodings in bounded memory
        body=response,
        headers=HTTPHeaderDict(response.headers.items()),
        status=response.status,
        original_response=response,
        preload_content=False,
    )


def _body(response: HTTPResponse) -> Iterator[bytes]:
    with _as_source_errors():
        yield from response.stream(_CHUNK_BYTES, decode_content=True)


@contextmanager
def _as_source_errors() -> Iterator[None]:
    """Translate network errors to SourceError."""
    try:
        yield
    except ConnectionNotAllowed as error:
        raise SourceAddressBlocked(str(error)) from error
    except ResponseTooLarge as error:
        raise SourceTooLarge("The image's server sent more bytes than allowed.") from error
    except (TimeoutError, ReadTimeoutError) as error:
        raise SourceTimeout("The image's server took too long to deliver the image.") from error
    except socket.gaierror as error:
        raise SourceUnreachable("The name of the image's server has no address in DNS.") from error
    except ssl.SSLCertVerificationError as error:
        raise SourceUnreachable("The image's server has no valid certificate.") from error
    except (HTTPException, HTTPError, ValueError) as error:  # ValueError: a chunk of size -5
        unreachable = SourceUnreachable(
            "The image's server closed the connection early or sent an invalid HTTP response."
        )
        # The message is omitted: it quotes the response, which may repeat the URL's query.
        unreachable.add_note(f"Caused by {type(error).__name__}.")
        raise unreachable from None
    except OSError as error:
        raise SourceUnreachable("The image's server could not be reached.") from error
