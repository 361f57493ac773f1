"""Repeating requests until one is answered or the time is over."""

import random
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

import urllib3

from taskfleet.api_client import Response
from taskfleet.deadline import Deadline
from taskfleet.errors import AccessDenied, ApiError, TaskfleetError, Unavailable

Answer = TypeVar("Answer")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

_MAY_PASS = frozenset({429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403})


class TryAgain(Exception):
    """An attempt failed in a way that another may not. `error` is raised if there is no other."""

    def __init__(self, error: TaskfleetError, *, after_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


def repeated(attempt: Callable[[], Answer], deadline: Deadline) -> Answer:
    """The answer of the first attempt that raises no TryAgain, of as many as the time allows."""
    ceiling_s = FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except TryAgain as failed:
            pause_s = max(failed.after_s, ceiling_s * random.uniform(0.5, 1))  # noqa: S311
            if pause_s >= deadline.remaining_s():
                raise failed.error from failed
        time.sleep(pause_s)
        ceiling_s = min(2 * ceiling_s, LONGEST_PAUSE_S)


def request(function: Callable[[], Answer], deadline: Deadline) -> Answer:
    """The answer of one request. Raises TryAgain without one, or Unavailable at the deadline."""
    try:
        return deadline.call(function)
    except TimeoutError as error:
        raise Unavailable("There was no complete answer in time.") from error
    except urllib3.exceptions.SSLError as error:
        raise Unavailable(f"There is no trusted connection ({error}).") from error
    except urllib3.exceptions.HTTPError as error:
        raise TryAgain(Unavailable(f"There was no answer ({type(error).__name__}).")) from error


def accepted(response: Response) -> Response:
    """The response if it is a success. Raises ApiError, or TryAgain if that may pass."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return response
    kind = AccessDenied if response.status in _DENIED else ApiError
    error = kind(response.status, response.body)
    if response.status in _MAY_PASS:
        after_s = retry_after_s(response.headers) or 0.0
        raise TryAgain(Unavailable(str(error)), after_s=after_s) from error
    raise error


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The pause that the API suggests, if any."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
