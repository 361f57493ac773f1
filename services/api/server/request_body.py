"""A request body that reports when it is complete and fails when it is truncated."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

if TYPE_CHECKING:
    from gunicorn._types import _EnvironType


class RequestBody:
    """A ``wsgi.input`` that calls `on_complete` when the last byte has been read.

    A body that ends early or has a malformed chunk raises OSError, and the application responds
    with 400. Otherwise it would take the first part of the body for the whole.
    """

    def __init__(self, environ: "_EnvironType", *, on_complete: Callable[[], None]) -> None:
        self._body = environ["wsgi.input"]
        self._on_complete = on_complete
        length = environ.get("CONTENT_LENGTH")
        self._remaining = int(length) if length else None

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._body.read(size)
        except ParseException as malformed:
            raise OSError("malformed chunk") from malformed
        if self._remaining is not None:
            if not data and self._remaining and size:
                raise OSError("the body ended early")
            self._remaining -= len(data)
        if not data or self._remaining == 0:
            self._on_complete()
        return data
