"""Resource limits for one image, and the encoders' own limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.common.image_limits import (
    MAX_COMPUTED_PIXELS,
    MAX_RESULT_BYTES,
    MAX_RESULT_PIXELS,
)
from services.common.operations import Format


@dataclass(frozen=True, kw_only=True)
class ImagingLimits:
    """What one image may use of its child process, and how large the result may be.

    The defaults are enough for a 50-megapixel JPEG.
    """

    memory_bytes: int = 1024**3
    """Address space of the child, including the interpreter's 50 MB."""
    timeout_s: float = 30
    """CPU time. The caller limits the wall-clock time."""
    max_pixels: int = 50_000_000
    """Of the decoded image. A JPEG may have more if it is decoded to a smaller size. Checked before
    decoding."""
    max_result_pixels: int = MAX_RESULT_PIXELS
    """Applies to the size after each operation, which is computed before decoding."""
    max_computed_pixels: int = MAX_COMPUTED_PIXELS
    """Applies to the sum over all operations, which is computed before decoding."""
    max_result_bytes: int = MAX_RESULT_BYTES
    """The parent keeps the result in memory until it is stored."""


JPEG_MAX_SCANS: Final = 100
"""Encoders write ten. At 50 megapixels, a scan takes 30 ms of CPU time and can be as short as 75
bytes, so a file of 300 KB could use up the limit. libtiff has the same limit for JPEGs in TIFFs
(``max_allowed_scan_number`` in its tif_jpeg.c)."""

BUFFER_SHARE: Final = 0.6
"""The part of the memory limit that libjpeg may take for the coefficients of a JPEG with several
scans: 2 bytes for each pixel of each component. 201 megapixels in 4:2:0 take 0.56."""

ENCODER_MAX_PIXELS: Final[Mapping[Format, int]] = {"avif": 25_000_000, "webp": 25_000_000}
"""For the encoders that cannot encode 50 megapixels within 1 GiB and 30 s on a slower machine than
the one measured, an x86 core of 2026. Per pixel, AVIF takes 22 bytes and 0.17 µs, and WebP 14 bytes
and 0.31 µs, besides the image's own 4 bytes. The slowest of the others is PNG, with 0.12 µs and
almost no memory."""

ENCODER_MAX_SIDE: Final[Mapping[Format, int]] = {
    "jpeg": 65_500,  # libjpeg's JPEG_MAX_DIMENSION
    "webp": 16_383,  # 14 bits in the bitstream
    "gif": 65_535,  # 16 bits in the screen descriptor
    "avif": 16_384,  # libavif's default limit for decoding, which a client probably has too
}
