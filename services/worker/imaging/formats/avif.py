"""AVIF: color and clean aperture by its boxes; libavif decodes the pixels."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import Final

from PIL import AvifImagePlugin

from services.common.errors import ImageDamaged, PageNotFound
from services.common.operations import Size
from services.worker.imaging import icc
from services.worker.imaging.formats.exif import orientation_in
from services.worker.imaging.formats.iso_media import Box, read_properties
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
    too_large,
)

_CLAP: Final = struct.Struct(">IIIIiIiI")
"""Width, height, and the offsets of the center, each a numerator and a denominator."""

_CHANNELS: Final = {"L": "gray", "LA": "gray + alpha", "RGB": "color", "RGBA": "color + alpha"}
"""By Pillow's mode."""
_HIGH_DEPTH: Final = 0x40
_TWELVE_BITS: Final = 0x20
"""In the third byte of av1C ("AV1 Codec ISO Media File Format Binding", 2.3)."""


class AvifImage(SourceImage):
    """An AVIF, or one frame of an image sequence."""

    def __init__(self, content: bytes, *, page: int, max_pixels: int) -> None:
        main, others = read_properties(content)
        properties = {box.kind: box.data for box in main}
        width, height = struct.unpack_from(">II", properties.get(b"ispe", b"").ljust(12, b"\0"), 4)
        if width * height > max_pixels:  # libavif reports some such images as unreadable
            raise too_large(max_pixels)
        try:
            self._image = AvifImagePlugin.AvifImageFile(BytesIO(content))
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The header of the AVIF is damaged.") from damaged
        if page > self._image.n_frames:
            raise PageNotFound(f"The AVIF has {self._image.n_frames} frames.")
        self._image.seek(page - 1)
        samples = _samples(properties.get(b"av1C") or dict(others).get(b"av1C", b""))
        require_supported("avif", Layout(_CHANNELS[self._image.mode], samples, "AV1"))
        self._crop = _clean_aperture(properties.get(b"clap"), self._image.size)
        left, top, right, bottom = self._crop
        self.size = right - left, bottom - top
        # Pillow turns the rotation and the mirror axis of the boxes into an orientation.
        self.orientation = orientation_in(self._image.info.get("exif", b""))
        self.profile = self._image.info.get("icc_profile") or _code_point_profile(main)

    def decode(self, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - all or nothing
        try:
            self._image.load()
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The AVIF is damaged or cut off.") from damaged
        whole = self._crop == (0, 0, *self._image.size)
        return Decoded(self._image if whole else self._image.crop(self._crop))


def _samples(configuration: bytes) -> str:
    flags = configuration[2] if len(configuration) > 2 else 0
    if not flags & _HIGH_DEPTH:
        return "8-bit"
    return "12-bit" if flags & _TWELVE_BITS else "10-bit"


def _clean_aperture(clap: bytes | None, size: Size) -> tuple[int, int, int, int]:
    """The part of the image to show: left, top, right, bottom (ISO/IEC 14496-12, 12.1.4)."""
    whole = (0, 0, *size)
    if clap is None or len(clap) < _CLAP.size:
        return whole
    numbers = _CLAP.unpack_from(clap)
    if 0 in numbers[1::2]:
        return whole
    width, height, x_offset, y_offset = map(Fraction, numbers[::2], numbers[1::2])
    left = (size[0] - width) / 2 + x_offset
    top = (size[1] - height) / 2 + y_offset
    edges = left, top, left + width, top + height
    is_inside = 0 <= left < edges[2] <= size[0] and 0 <= top < edges[3] <= size[1]
    if not is_inside or any(edge.denominator != 1 for edge in edges):
        return whole
    return int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3])


def _code_point_profile(main: Sequence[Box]) -> bytes | None:
    for box in main:
        if box.kind == b"colr" and box.data[:4] == b"nclx" and len(box.data) >= 8:
            return icc.code_point_profile(*struct.unpack_from(">HH", box.data, 4))
    return None
