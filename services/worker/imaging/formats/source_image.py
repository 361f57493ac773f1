"""What every format's reader provides: an image whose header has been read."""

import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, NamedTuple

from PIL import Image

from services.common.errors import ImageTooLarge
from services.common.operations import Size

DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for damaged files. ``MemoryError`` is not among them: it means that
the image is too large, not that it is damaged. Catch them only around the decoding of pixels. Our
own readers parse the metadata, so that no error of the pixels can be taken for one of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """What the caller needs of the pixels."""

    at_least: Size
    """A decoder may decode to a smaller size, but no smaller than this. As stored, not upright."""
    gray: bool = False
    """A decoder may leave out the color."""
    keep_damaged: bool = False
    """Return what can be decoded of a damaged image, with a warning."""


class Decoded(NamedTuple):
    """Decoded pixels in a mode that ``color`` converts, and what is missing."""

    image: Image.Image
    warning: str | None = None


class SourceImage(ABC):
    """One page of a file. The constructor reads its header and decodes no pixels.

    It raises ``ImageDamaged``, ``ImageFormatNotSupported`` or ``PageNotFound``.
    """

    size: Size
    """As stored, in pixels."""
    orientation: int = 1
    """By EXIF: 1 is upright (CIPA DC-008, 4.6.4.A)."""
    profile: bytes | None = None
    """The ICC profile of the pixels, from the file or from its other fields about color."""

    scans: int = 1
    """Passes over all pixels."""

    def buffered_bytes(self) -> int:
        """Memory that decoding takes besides the decoded pixels, if it is much."""
        return 0

    def decoded_size(self, at_least: Size) -> Size:  # noqa: ARG002 - for readers that scale
        """The size to which ``decode`` decodes."""
        return self.size

    @abstractmethod
    def decode(self, options: DecodeOptions) -> Decoded:
        """Decode the pixels. Raises ``ImageDamaged`` or ``ImageFormatNotSupported``. Call once."""


def too_large(max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {max_pixels / 1e6:g} megapixels.")


def rows_missing(complete: int, height: int, *, side: str = "lower") -> str:
    """What is wrong with an image of which only some rows could be decoded."""
    missing = height - complete
    return f"The file is damaged: the {side} {missing} of {height} rows are missing or incomplete."
