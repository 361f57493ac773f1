"""The errors of an attempt for everything that a server or the network can do wrong."""

import socket
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError

from services.common.errors import (
    SourceAddressBlocked,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnavailable,
    SourceUnreachable,
)
from services.worker.fetching.certificates import certificate_error
from services.worker.fetching.guarded_connection import ConnectionNotAllowed, ResponseTooLarge
from services.worker.fetching.retry_after import parse_retry_after

_NOT_FOUND = {404, 410}
_TEMPORARY = {408, 425, 429}


def status_error(response: HTTPResponse, *, now: datetime) -> SourceError:
    """The error for a response that delivers no image."""
    status = response.status
    if status in _NOT_FOUND:
        return SourceNotFound(f"The image's server has no such image (status {status}).")
    retry_after_s = retry_after(response, now=now)
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


def retry_after(response: HTTPResponse, *, now: datetime) -> float | None:
    """How many seconds the server asks us to wait, if it says so."""
    return parse_retry_after(response.headers.get("retry-after"), now=now)


@contextmanager
def as_source_errors() -> Iterator[None]:
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
        raise certificate_error(error) from error
    except (HTTPException, HTTPError, zlib.error, ValueError) as error:
        # ValueError: for example a chunk of size -5.
        unreachable = SourceUnreachable(
            "The image's server closed the connection early or sent an invalid HTTP response."
        )
        # The message is omitted: it quotes the response, which may repeat the URL's query.
        unreachable.add_note(f"Caused by {type(error).__name__}.")
        raise unreachable from None
    except OSError as error:
        raise SourceUnreachable("The image's server could not be reached.") from error
