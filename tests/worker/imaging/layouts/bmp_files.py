"""BMPs of every depth and header, plain, run-length coded and with bit fields."""

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from PIL import Image

from services.worker.imaging.formats.layouts import Layout
from tests.worker.imaging.layouts.chart import (
    HEIGHT,
    WIDTH,
    LayoutFile,
    level,
    palette,
    pixels,
    rgba,
    samples,
    scaled,
)
from tests.worker.imaging.layouts.png_files import packed

_FILE_HEADER: Final = 14
_CORE: Final = 12
_INFO: Final = 40
_HEADERS: Final = {"OS/2 1": _CORE, "Windows 3": _INFO, "OS/2 2": 64, "V4": 108, "V5": 124}

_PLAIN, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6

_Masks = tuple[int, int, int, int]
"""Of red, green, blue and alpha."""
_555: Final = (0x7C00, 0x3E0, 0x1F, 0)
_888: Final = (0xFF0000, 0xFF00, 0xFF, 0)
_MASKS: Final[dict[str, tuple[int, _Masks]]] = {
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "555": (16, _555),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "XRGB": (32, _888),
    "RGBX": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
    "XBGR": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "ARGB": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "ABGR": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
    "2 and 10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
}
"""Bits per pixel, and the masks."""


def bmp_files() -> Iterator[LayoutFile]:
    for header in _HEADERS:
        for bits in (1, 2, 4, 8):
            rows = [packed(row, bits) for row in _indexes(bits)]
            yield _palette_file(bits, "plain", header, bmp(header, bits, rows))
        for bits, masks in ((16, _555), (24, _888), (32, _888)):
            content, expected = _color_file(header, bits, masks)
            yield _file("RGB", bits, "plain", header, content, expected)
    content, expected = _color_file("Windows 3", 24, _888, is_top_down=True)
    yield _file("RGB", 24, "plain", "top down", content, expected)
    for bits, compression in ((8, _RLE8), (4, _RLE4)):
        for header in ("Windows 3", "V5"):
            rows = [_runs(row, bits) for row in _indexes(bits)]
            content = bmp(header, bits, rows, compression=compression)
            yield _palette_file(bits, "run-length", header, content)
    for name, (bits, masks) in _MASKS.items():
        for header in ("Windows 3", "V4", "V5"):
            compression = _ALPHA_BIT_FIELDS if masks[3] and header == "Windows 3" else _BIT_FIELDS
            content, expected = _color_file(header, bits, masks, compression=compression)
            channels = "RGB + alpha" if masks[3] else "RGB"
            yield _file(channels, bits, "bit fields", f"{name}, {header}", content, expected)


def _file(
    channels: str, bits: int, storage: str, variant: str, content: bytes, expected: Image.Image
) -> LayoutFile:
    layout = Layout(channels, f"{bits}-bit", storage)
    return LayoutFile("bmp", layout, variant, content, expected, libvips_reads_it=False)


def _palette_file(bits: int, storage: str, variant: str, content: bytes) -> LayoutFile:
    expected = rgba(palette(bits)[index] for (index,) in samples(1, bits))
    return _file("palette", bits, storage, variant, content, expected)


def _indexes(bits: int) -> list[list[int]]:
    indexes = [index for (index,) in samples(1, bits)]
    return [indexes[start : start + WIDTH] for start in range(0, len(indexes), WIDTH)]


def _color_file(
    header: str, bits: int, masks: _Masks, *, compression: int = _PLAIN, is_top_down: bool = False
) -> tuple[bytes, Image.Image]:
    """The file, and the pixels that it has after the loss of bits."""
    depths = [mask.bit_count() for mask in masks if mask]
    stored = pixels(
        lambda x, y: tuple(
            round(level(channel, x, y) * (2**depth - 1)) for channel, depth in enumerate(depths)
        )
    )
    shifts = [(mask & -mask).bit_length() - 1 for mask in masks if mask]
    numbers = [
        sum(value << shift for value, shift in zip(pixel, shifts, strict=True)) for pixel in stored
    ]
    rows = [
        b"".join(number.to_bytes(bits // 8, "little") for number in numbers[start : start + WIDTH])
        for start in range(0, len(numbers), WIDTH)
    ]
    content = bmp(header, bits, rows, compression=compression, masks=masks, is_top_down=is_top_down)
    channels = [
        [level for (level,) in scaled([(pixel[index],) for pixel in stored], depth)]
        for index, depth in enumerate(depths)
    ]
    return content, rgba(zip(*channels, strict=True))


def bmp(
    header: str,
    bits: int,
    rows: Sequence[bytes],
    *,
    compression: int = _PLAIN,
    masks: _Masks = _888,
    is_top_down: bool = False,
) -> bytes:
    """A BMP of these rows, the upper first. Run-length data is not padded."""
    size = _HEADERS[header]
    is_padded = compression not in {_RLE8, _RLE4}
    data = b"".join(
        row + bytes(-len(row) % 4 if is_padded else 0)
        for row in (rows if is_top_down else reversed(rows))
    )
    data += b"" if is_padded else b"\0\1"  # the end of the bitmap
    height = -HEIGHT if is_top_down else HEIGHT
    if size == _CORE:
        head = struct.pack("<IHHHH", size, WIDTH, HEIGHT, 1, bits)
    else:
        fields = (size, WIDTH, height, 1, bits, compression, len(data), 2835, 2835, 0, 0)
        head = struct.pack("<IiiHHIIiiII", *fields)
    if compression in {_BIT_FIELDS, _ALPHA_BIT_FIELDS}:
        count = 3 if compression == _BIT_FIELDS and size == _INFO else 4
        head += struct.pack(f"<{count}I", *masks[:count])
    head = head.ljust(size, b"\0")
    if bits <= 8:
        padding = b"" if size == _CORE else b"\0"
        head += b"".join(bytes(reversed(color)) + padding for color in palette(bits))
    start = _FILE_HEADER + len(head)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + head + data


def _runs(row: Sequence[int], bits: int) -> bytes:
    """One row of run-length codes: runs, a literal in front of them, and the end of the line."""
    literal = row[:5]
    coded = packed(literal, bits)
    content = bytes((0, len(literal))) + coded + bytes(len(coded) % 2)
    for value, run in groupby(row[5:]):
        content += bytes((len(list(run)), value if bits == 8 else value << 4 | value))
    return content + b"\0\0"
