"""Decoding TIFF samples that Pillow does not decode correctly: planar, signed, of 32 bits, floating
point.

Pillow and libtiff decompress the strips or tiles as if each byte were a gray pixel. This module
undoes the predictor, orders the bytes and converts the samples to 8 bits. It works on bands of
rows, so that it needs little memory besides the decompressed samples.

Unsigned samples of 8 and 16 bits keep their value. Floating-point samples from 0 to 1 are an image
in the usual scale: 0 is black, 1 is white. No standard says which other 32-bit, signed or
floating-point value is white, so these are stretched: the lowest value in the image becomes black,
the highest white. Values that are not finite, and the one that GDAL marks as missing, become black.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import isfinite
from typing import Final, TypeAlias

from PIL import Image

from services.worker.imaging.formats.tiff_layout import (
    DIFFERENCES,
    FLOAT,
    FLOAT_DIFFERENCES,
    SIGNED,
    PixelFormat,
)

Samples: TypeAlias = "array[int] | array[float]"

ByteView: TypeAlias = Callable[[int], Image.Image]
"""Decompresses a plane, each byte as one gray pixel. Without planes, the argument is 0."""

_UNSIGNED_CODES: Final = {8: "B", 16: "H", 32: "I", 64: "Q"}
"""Codes of ``array``, by bits."""
_SIGNED_CODES: Final = {8: "b", 16: "h", 32: "i"}
_FLOAT_CODES: Final = {16: "e", 32: "f", 64: "d"}
"""``array`` does not know ``e``, a half, but ``struct`` does."""

_LARGEST_EXACT_BITS: Final = 16
_BAND_SAMPLES: Final = 1_000_000


def channels_of(
    pixels: PixelFormat, rows: int, view: ByteView, *, byte_order: str, nodata: float | None
) -> list[Image.Image]:
    """The color channels, then alpha if there is one, of the upper rows, as images of mode L."""
    samples = _Samples(pixels, rows, view, byte_order)
    if _keeps_value(pixels):
        to_bytes = _high_bytes
    else:
        is_float = pixels.sample_format == FLOAT
        to_bytes = _Stretch(samples, is_float=is_float, nodata=nodata).to_bytes
    channels = [bytearray() for _ in samples.wanted]
    for band in samples.bands():
        for channel, values in zip(channels, band, strict=True):
            channel.extend(to_bytes(values))
    size = pixels.size[0], rows
    return [Image.frombuffer("L", size, channel, "raw", "L", 0, 1) for channel in channels]


class _Samples:
    """The numbers of a page, in bands of rows."""

    def __init__(self, pixels: PixelFormat, rows: int, view: ByteView, byte_order: str) -> None:
        self.wanted = [*range(pixels.color_channels)]
        if pixels.alpha is not None:
            self.wanted.append(pixels.alpha)
        self._pixels = pixels
        self._rows = rows
        self._channels = 1 if pixels.is_planar else pixels.channels
        self._views = [view(plane) for plane in (self.wanted if pixels.is_planar else [0])]
        self._must_swap = (byte_order == "<") != (sys.byteorder == "little")

    def bands(self) -> Iterator[list[Samples]]:
        """For each band, the samples of every wanted channel."""
        rows = max(1, _BAND_SAMPLES // (self._pixels.size[0] * self._channels))
        for top in range(0, self._rows, rows):
            bottom = min(top + rows, self._rows)
            planes = [self._typed(self._numbers(view, top, bottom)) for view in self._views]
            if self._pixels.is_planar:
                yield planes
            else:
                yield [planes[0][channel :: self._channels] for channel in self.wanted]

    def _numbers(self, view: Image.Image, top: int, bottom: int) -> "array[int]":
        """The samples of some rows as unsigned numbers, without the padding of tiles."""
        row_bytes = self._pixels.size[0] * self._channels * self._pixels.bits // 8
        segment_bytes = view.width
        if self._pixels.tile:
            segment_bytes = self._pixels.tile[0] * self._channels * self._pixels.bits // 8
        content = view.crop((0, top, view.width, bottom)).tobytes()
        numbers = self._unsigned()
        for start in range(0, len(content), view.width):
            row = self._unsigned()
            for begin in range(start, start + view.width, segment_bytes):
                row += self._without_predictor(content[begin : begin + segment_bytes])
            numbers += row[: row_bytes * 8 // self._pixels.bits]
        return numbers

    def _without_predictor(self, content: bytes) -> "array[int]":
        """The numbers in one row of a strip or tile."""
        if self._pixels.predictor == FLOAT_DIFFERENCES:
            numbers = self._unsigned(_joined_bytes(content, self._channels, self._pixels.bits // 8))
            if sys.byteorder == "little":
                numbers.byteswap()
            return numbers
        numbers = self._unsigned(content)
        if self._must_swap:
            numbers.byteswap()
        if self._pixels.predictor == DIFFERENCES:
            for channel in range(self._channels):
                numbers[channel :: self._channels] = _sums(numbers[channel :: self._channels])
        return numbers

    def _unsigned(self, content: bytes = b"") -> "array[int]":
        return array(_UNSIGNED_CODES[self._pixels.bits], content)

    def _typed(self, numbers: "array[int]") -> Samples:
        bits, sample_format = self._pixels.bits, self._pixels.sample_format
        if sample_format == SIGNED:
            return array(_SIGNED_CODES[bits], numbers.tobytes())
        if sample_format == FLOAT and _FLOAT_CODES[bits] == "e":
            return array("f", struct.unpack(f"={len(numbers)}e", numbers.tobytes()))
        if sample_format == FLOAT:
            return array(_FLOAT_CODES[bits], numbers.tobytes())
        return numbers


def _sums(differences: "array[int]") -> "array[int]":
    """The running sums, in the width of the samples."""
    wide = array("Q", accumulate(differences))
    step = wide.itemsize // differences.itemsize
    low = 0 if sys.byteorder == "little" else step - 1
    parts = array(differences.typecode, wide.tobytes())
    return parts[low::step]


def _joined_bytes(content: bytes, channels: int, size: int) -> bytes:
    """Undo the floating-point predictor: differences of bytes, most significant bytes first."""
    numbers = array("B", content)
    for channel in range(channels):
        numbers[channel::channels] = _sums(numbers[channel::channels])
    count = len(content) // size
    joined = bytearray(len(content))
    for position in range(size):
        joined[position::size] = numbers[position * count : (position + 1) * count].tobytes()
    return bytes(joined)


def _keeps_value(pixels: PixelFormat) -> bool:
    return pixels.sample_format not in {SIGNED, FLOAT} and pixels.bits <= _LARGEST_EXACT_BITS


def _high_bytes(values: Samples) -> bytes:
    if values.itemsize == 1:
        return values.tobytes()
    high = 1 if sys.byteorder == "little" else 0
    return values.tobytes()[high::2]


class _Stretch:
    """Converts samples by the range of all valid values."""

    def __init__(self, samples: _Samples, *, is_float: bool, nodata: float | None) -> None:
        self._nodata = nodata
        lows, highs = [], []
        for band in samples.bands():
            for values in band:
                valid = self._valid(values)
                if valid:
                    lows.append(min(valid))
                    highs.append(max(valid))
        low, high = min(lows, default=0.0), max(highs, default=0.0)
        if is_float and low >= 0 and high <= 1:
            low, high = 0, 1
        self._low = low
        self._scale = 255 / (high - low) if high > low else 0.0

    def to_bytes(self, values: Samples) -> bytes:
        low, scale = self._low, self._scale
        if not self._all_valid(values):
            nodata = self._nodata_in(values)
            values = array(
                values.typecode,
                (value if isfinite(value) and value != nodata else low for value in values),
            )
        # Pillow truncates, so a half is added to round.
        grays = array("f", ((value - low) * scale + 0.5 for value in values)).tobytes()
        return (
            Image.frombuffer("F", (len(values), 1), grays, "raw", "F", 0, 1).convert("L").tobytes()
        )

    def _all_valid(self, values: Samples) -> bool:
        return self._nodata is None and isfinite(sum(values))

    def _valid(self, values: Samples) -> Sequence[float]:
        if self._all_valid(values):
            return values
        nodata = self._nodata_in(values)
        return [value for value in values if isfinite(value) and value != nodata]

    def _nodata_in(self, values: Samples) -> float | None:
        """The missing value in the precision of the samples, or None if they cannot hold it."""
        if self._nodata is None:
            return None
        try:
            is_whole = values.typecode in "fd" or not self._nodata.is_integer()
            return array(values.typecode, [self._nodata if is_whole else int(self._nodata)])[0]
        except (OverflowError, TypeError, ValueError):
            return None
