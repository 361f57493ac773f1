"""A request's body while it arrives, and what to do when it ends too early."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType


class Input:
    """``wsgi.input`` that knows how much is still to come, and says when nothing is.

    A body that ends early raises OSError, for which the application answers 400: otherwise it
    would take the first part for the whole.
    """

    def __init__(self, environ: "_EnvironType", *, arrived: Callable[[], None]) -> None:
        self._body = environ["wsgi.input"]
        self._arrived = arrived
        length = environ.get("CONTENT_LENGTH")
        self._left = int(length) if length else None

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._body.read(size)
        except ParseException as malformed:
            raise OSError("malformed chunk") from malformed
        if self._left is not None:
            if not data and self._left and size:
                raise OSError("the body ended early")
            self._left -= len(data)
        if not data or self._left == 0:
            self._arrived()
        return data
