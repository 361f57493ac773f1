"""PNGs of every color type, depth and transparency, interlaced and not."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from services.worker.imaging.formats.layouts import Layout
from tests.worker.imaging.layouts.chart import (
    HEIGHT,
    WIDTH,
    LayoutFile,
    key,
    palette,
    rgba,
    samples,
    scaled,
)

_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row, and steps (PNG, third edition, section 8.1)."""

_TRUE_COLOR: Final = (
    ("gray", 0, 1, (1, 2, 4, 8, 16)),
    ("RGB", 2, 3, (8, 16)),
    ("gray + alpha", 4, 2, (8, 16)),
    ("RGB + alpha", 6, 4, (8, 16)),
)
"""Name, color type, channels and depths."""


def png_files() -> Iterator[LayoutFile]:
    for storage in ("plain", "interlaced"):
        for channels, color_type, count, depths in _TRUE_COLOR:
            for depth in depths:
                pixels = samples(count, depth)
                layout = Layout(channels, f"{depth}-bit", storage)
                content = png(color_type, depth, pixels, is_interlaced=storage != "plain")
                yield LayoutFile("png", layout, "", content, rgba(scaled(pixels, depth)))
                if color_type in {0, 2}:
                    yield _with_key(channels, color_type, count, depth, storage)
        for depth in (1, 2, 4, 8):
            yield from _with_palette(depth, storage)


def _with_key(channels: str, color_type: int, count: int, depth: int, storage: str) -> LayoutFile:
    pixels, transparent = samples(count, depth), key(count, depth)
    trns = struct.pack(f">{count}H", *transparent)
    content = png(color_type, depth, pixels, (b"tRNS", trns), is_interlaced=storage != "plain")
    expected = rgba(
        (*color, 0 if pixel == transparent else 255)
        for color, pixel in zip(scaled(pixels, depth), pixels, strict=True)
    )
    return LayoutFile(
        "png", Layout(f"{channels} + key", f"{depth}-bit", storage), "", content, expected
    )


def _with_palette(depth: int, storage: str) -> Iterator[LayoutFile]:
    pixels, colors = samples(1, depth), palette(depth)
    plte = (b"PLTE", b"".join(map(bytes, colors)))
    alphas = [index * 53 % 256 for index in range(2**depth - 1)]  # the last color is opaque
    for channels, *more in (("palette",), ("palette + alpha", (b"tRNS", bytes(alphas)))):
        content = png(3, depth, pixels, plte, *more, is_interlaced=storage != "plain")
        expected = rgba(
            (*colors[index], ([*alphas, 255] if more else [255] * 2**depth)[index])
            for (index,) in pixels
        )
        yield LayoutFile(
            "png", Layout(str(channels), f"{depth}-bit", storage), "", content, expected
        )


def png(
    color_type: int,
    depth: int,
    pixels: Sequence[tuple[int, ...]],
    *chunks: tuple[bytes, bytes],
    is_interlaced: bool = False,
) -> bytes:
    """A PNG with more ``chunks`` between the header and the pixels."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, is_interlaced)
    rows = []
    for column, row, column_step, row_step in _PASSES if is_interlaced else ((0, 0, 1, 1),):
        for y in range(row, HEIGHT, row_step):
            line = pixels[y * WIDTH + column : (y + 1) * WIDTH : column_step]
            rows.append(b"\0" + packed([sample for pixel in line for sample in pixel], depth))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each)
        for each in (
            (b"IHDR", header),
            *chunks,
            (b"IDAT", zlib.compress(b"".join(rows))),
            (b"IEND", b""),
        )
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def packed(values: Sequence[int], bits: int) -> bytes:
    """Unsigned samples of a row, the first in the highest bits."""
    number = 0
    for value in values:
        number = number << bits | value
    padding = -len(values) * bits % 8
    return (number << padding).to_bytes((len(values) * bits + padding) // 8)
