"""The interface of a handler: ``child_main`` loads one and calls it for each image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.worker.imaging.limits import ImagingLimits


@dataclass(frozen=True, slots=True)
class ResultImage:
    """An encoded result with its content type and its size in pixels."""

    body: bytes
    content_type: str
    width: int
    height: int
    warnings: Sequence[str] = ()
    """What the result lacks, each in a sentence."""


ImageHandler: TypeAlias = Callable[[bytes, Mapping[str, Any]], ResultImage]
"""Makes a result from a file's content and the members of a ``Recipe``.

Raises ``ImageError``, or ``MemoryError`` at the memory limit."""

HandlerLoader: TypeAlias = Callable[[ImagingLimits], ImageHandler]
"""Loads a handler and everything it needs. Afterwards the sandbox forbids opening files, so the
handler can import nothing."""
