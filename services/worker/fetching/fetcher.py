"""Fetching an image from where a stranger's URL points, safely and in bounded time and space."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import BinaryIO

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError

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
    AnswerTooLarge,
    Connect,
    ConnectionNotAllowed,
    GuardedConnection,
    GuardedConnector,
    connect_tcp,
)
from services.worker.fetching.deadline import Deadline
from services.worker.fetching.name_lookup import Resolve, resolve_name

_HEADERS = {
    "User-Agent": "Taskfleet",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
"""All that a source learns of us, beside the Host header."""

_CHUNK_BYTES = 65_536
_FRAMING_BYTES = 1_000_000
"""Received beyond ``max_bytes``: headers, interim answers (1xx), chunk sizes and trailers."""

_REDIRECTS = {301, 302, 303, 307, 308}
_GONE = {404, 410}
_PASSING = {408, 425, 429}


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """What one fetch may do; ``services.common.config`` has the defaults."""

    max_bytes: int
    """Of the body, after its content encoding is undone."""
    timeout_s: float
    """All of it: look-ups, connections, redirects, body."""
    max_redirects: int
    allowed_ports: Sequence[int]
    allowed_networks: Sequence[IPNetwork]
    """Reachable although not public; for local tools."""


class GuardedFetcher:
    """Fetches under a policy. Threads may share one: it keeps no state between fetches."""

    def __init__(
        self,
        *,
        policy: FetchPolicy,
        resolve: Resolve = resolve_name,
        connect: Connect = connect_tcp,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._connector = GuardedConnector(
            addresses=AddressPolicy(tuple(policy.allowed_networks)),
            ports=policy.allowed_ports,
            resolve=resolve,
            connect=connect,
            tls=tls or ssl.create_default_context(),
        )

    def fetch(self, url: str, *, into: BinaryIO, timeout_s: float) -> int:
        """Write the body of ``url`` into a file and return the bytes written.

        ``timeout_s`` bounds this fetch when it is below the policy's. Raises SourceError, whose
        message is a sentence for a person without any part of the URL or any address, and what
        ``into`` raises. After an error the file may hold a part of the body.
        """
        deadline = Deadline(min(timeout_s, self._policy.timeout_s), clock=self._clock)
        source = _parse(url)
        for _ in range(1 + self._policy.max_redirects):
            with self._get(source, deadline) as answer:
                if answer.status not in _REDIRECTS:
                    return self._store(answer, into)
                source = _redirect_target(source, answer)
        raise SourceTooManyRedirects(
            f"The image's server redirected more than {self._policy.max_redirects} times."
        )

    @contextmanager
    def _get(self, url: SourceUrl, deadline: Deadline) -> Iterator[HTTPResponse]:
        with _as_source_errors():
            connection = self._connector.open(
                url,
                deadline=deadline,
                max_answer_bytes=self._policy.max_bytes + _FRAMING_BYTES,
            )
        with closing(connection):
            with _as_source_errors():
                answer = _exchange(connection, url)
            with closing(answer):
                yield answer

    def _store(self, answer: HTTPResponse, into: BinaryIO) -> int:
        if answer.status != HTTPStatus.OK:
            raise _status_error(answer.status)
        self._check_size(answer.length_remaining or 0)  # as announced by Content-Length
        written = 0
        for chunk in _body(answer):
            written += len(chunk)
            self._check_size(written)
            into.write(chunk)
        if not written and answer.length_remaining is None:
            # To http.client, headers that are cut short are complete, and a body may be missing.
            raise SourceUnreachable("The image's server broke off before the image began.")
        return written

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


def _redirect_target(url: SourceUrl, answer: HTTPResponse) -> SourceUrl:
    location = answer.headers.get("location")
    if location is None:
        raise SourceRefused("The image's server redirected without saying where to.")
    try:
        return url.join(location)
    except ValueError as error:
        raise SourceUrlInvalid(
            "The image's server redirected to something that is not an http or https URL."
        ) from error


def _exchange(connection: GuardedConnection, url: SourceUrl) -> HTTPResponse:
    connection.request("GET", url.target, headers=_HEADERS)
    answer = connection.getresponse()
    return HTTPResponse(  # which undoes content encodings in bounded memory
        body=answer,
        headers=HTTPHeaderDict(answer.headers.items()),
        status=answer.status,
        original_response=answer,
        preload_content=False,
    )


def _body(answer: HTTPResponse) -> Iterator[bytes]:
    with _as_source_errors():
        yield from answer.stream(_CHUNK_BYTES, decode_content=True)


def _status_error(status: int) -> SourceError:
    if status in _GONE:
        return SourceNotFound(f"The image's server has no such image (status {status}).")
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(f"The image's server is unavailable (status {status}).")
    return SourceRefused(f"The image's server did not deliver the image (status {status}).")


@contextmanager
def _as_source_errors() -> Iterator[None]:
    """Give what goes wrong on the network its place in our error tree."""
    try:
        yield
    except ConnectionNotAllowed as error:
        raise SourceAddressBlocked(str(error)) from error
    except AnswerTooLarge as error:
        raise SourceTooLarge("The image's server sent more bytes than allowed.") from error
    except (TimeoutError, ReadTimeoutError) as error:
        raise SourceTimeout("The image's server took too long to deliver it.") from error
    except socket.gaierror as error:
        raise SourceUnreachable("The image's server has no address in the DNS.") from error
    except ssl.SSLCertVerificationError as error:
        raise SourceUnreachable("The image's server has no valid certificate.") from error
    except (HTTPException, HTTPError, ValueError) as error:  # ValueError: a chunk of size -5
        broken = SourceUnreachable("The image's server broke off or broke HTTP's rules.")
        # Only its name: it quotes what the server sent, which may be the URL's own query.
        broken.add_note(f"It was a {type(error).__name__}.")
        raise broken from None
    except OSError as error:
        raise SourceUnreachable("The image's server could not be reached.") from error
