"""Which layouts of each format are decoded.

A layout that is not listed here is refused. A test decodes a file of each layout with an
independent decoder, and docs/formats.md shows the list.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

from services.common.errors import ImageFormatNotSupported
from services.common.operations import Format


class Layout(NamedTuple):
    """How the pixels of an image are stored."""

    channels: str
    samples: str
    """Bits per sample, and their type."""
    storage: str
    """How samples are arranged or coded."""

    def __str__(self) -> str:
        return f"{self.channels}, {self.samples}, {self.storage}"


def _each(channels: str, samples: str, storage: str) -> Iterator[Layout]:
    """All combinations. ``|`` separates alternatives."""
    return (
        Layout(*names)
        for names in product(*(part.split("|") for part in (channels, samples, storage)))
    )


_TIFF_NUMBERS: Final = (
    "32-bit|8-bit signed|16-bit signed|32-bit signed|16-bit float|32-bit float|64-bit float"
)

SUPPORTED: Final[Mapping[Format, frozenset[Layout]]] = {
    "jpeg": frozenset(
        {
            *_each(
                "gray|YCbCr|RGB|CMYK|YCCK",
                "8-bit",
                "sequential|progressive|arithmetic|arithmetic progressive",
            ),
            *_each("gray|RGB", "8-bit", "lossless"),
        }
    ),
    "png": frozenset(
        {
            *_each("gray|gray + key", "1-bit|2-bit|4-bit|8-bit|16-bit", "plain|interlaced"),
            *_each("palette|palette + alpha", "1-bit|2-bit|4-bit|8-bit", "plain|interlaced"),
            *_each("RGB|RGB + key|gray + alpha|RGB + alpha", "8-bit|16-bit", "plain|interlaced"),
        }
    ),
    "gif": frozenset(_each("palette|palette + key", "8-bit", "plain|interlaced")),
    "bmp": frozenset(
        {
            *_each("palette", "1-bit|2-bit|4-bit|8-bit", "plain"),
            *_each("palette", "4-bit|8-bit", "run-length"),
            *_each("RGB", "16-bit|24-bit|32-bit", "plain"),
            *_each("RGB", "16-bit|32-bit", "bit fields"),
            *_each("RGB + alpha", "16-bit|32-bit", "bit fields"),
        }
    ),
    "webp": frozenset(_each("RGB|RGB + alpha", "8-bit", "lossy|lossless|animated")),
    "avif": frozenset(_each("gray|gray + alpha|color|color + alpha", "8-bit|10-bit|12-bit", "AV1")),
    "tiff": frozenset(
        {
            *_each("gray|palette", "1-bit|2-bit|4-bit|8-bit", "chunky"),
            *_each("gray", f"12-bit|16-bit|{_TIFF_NUMBERS}", "chunky"),
            *_each("RGB", f"8-bit|16-bit|{_TIFF_NUMBERS}", "chunky|planar"),
            *_each("gray + alpha|RGB + alpha|CMYK", "8-bit|16-bit", "chunky|planar"),
            *_each("CIELAB|YCbCr", "8-bit", "chunky"),
            *_each("gray|RGB|YCbCr|CMYK", "8-bit", "JPEG"),
            *_each("gray", "1-bit", "fax"),
        }
    ),
}


def require_supported(image_format: Format, layout: Layout) -> None:
    """Raises ``ImageFormatNotSupported``."""
    if layout not in SUPPORTED[image_format]:
        raise ImageFormatNotSupported(
            f"The image is a {image_format.upper()} of the kind '{layout}', which is not supported."
        )
