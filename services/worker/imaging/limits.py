"""What one image may cost, and what each encoder can do within that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.common.operations import Format


@dataclass(frozen=True, kw_only=True)
class ImagingLimits:
    """The most that one image may use of its child process, and the largest result.

    A 50-megapixel JPEG passes with the defaults.
    """

    memory_bytes: int = 1024**3
    """Address space of the child, the interpreter's own 50 MB included."""
    timeout_s: float = 30
    """CPU time. The time by the clock is the caller's matter."""
    max_pixels: int = 50_000_000
    """By the header, before anything is decoded."""
    max_result_pixels: int = 50_000_000
    """After every single operation; known and checked before anything is decoded."""
    max_result_bytes: int = 64 * 1024**2
    """The parent holds the result in its memory until it is stored."""


JPEG_MAX_SCANS: Final = 100
"""Encoders write ten. Of 50 megapixels each takes 30 ms, and 75 bytes of the file: 300 KB would
use up all of the CPU time. libtiff has the same limit for JPEGs in TIFFs
(``max_allowed_scan_number`` in its tif_jpeg.c)."""

ENCODER_MAX_PIXELS: Final[Mapping[Format, int]] = {"avif": 25_000_000, "webp": 25_000_000}
"""For the encoders that cannot do 50 megapixels within 1 GiB and 30 s with room for a slower
machine. Measured on an x86 core of 2026, beside the 4 bytes a pixel that the image itself has:
AVIF takes 22 bytes and 0.17 µs a pixel, WebP 14 bytes and 0.31 µs; of the others, PNG is the
slowest with 0.12 µs, and next to no memory."""

ENCODER_MAX_SIDE: Final[Mapping[Format, int]] = {
    "jpeg": 65_500,  # libjpeg's JPEG_MAX_DIMENSION
    "webp": 16_383,  # 14 bits in the bitstream
    "gif": 65_535,  # 16 bits in the screen descriptor
    "avif": 16_384,  # what our own decoder, and so a client's, accepts: libavif's default
}
