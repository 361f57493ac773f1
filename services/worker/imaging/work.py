"""What an imaging child does: the interface between ``inside``, which runs it, and ``image``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.worker.imaging.limits import ImagingLimits


@dataclass(frozen=True, slots=True)
class ResultImage:
    """A result: the file, and what it is."""

    body: bytes
    content_type: str
    width: int
    height: int


Work: TypeAlias = Callable[
    [bytes, Sequence[Mapping[str, Any]], Mapping[str, Any] | None], ResultImage
]
"""Makes a result of a file's content, the operations and the output wished for.

Raises ``ImageError``, and ``MemoryError`` at the memory limit."""

Prepare: TypeAlias = Callable[[ImagingLimits], Work]
"""Loads all that the work will need: afterwards no file can be opened and no module imported."""
