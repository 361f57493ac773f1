"""The chunks of a PNG ("Portable Network Graphics (PNG) Specification (Third Edition)", W3C)."""

import struct
import zlib
from collections.abc import Iterator
from itertools import repeat
from typing import Final, NamedTuple

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_END: Final = b"IEND"
_CHECKSUM_BYTES: Final = 4

_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row, and steps, of the passes of an interlaced image (8.1)."""
_WHOLE: Final = ((0, 0, 1, 1),)


class Chunk(NamedTuple):
    kind: bytes
    data: bytes
    is_intact: bool
    """The checksum is right."""


class Header(NamedTuple):
    """The content of IHDR (11.2.1)."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    compression: int
    filters: int
    interlacing: int

    @property
    def bits_per_pixel(self) -> int:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[self.color_type]
        return channels * self.bit_depth

    @property
    def row_bytes(self) -> int:
        return _row_bytes(self.width, self.bits_per_pixel)

    def data_bytes(self) -> int:
        """Size of the pixel data before compression."""
        return sum(self.rows())

    def rows(self) -> Iterator[int]:
        """Size of each row in the data. The rows of an interlaced image come in seven passes."""
        for column, row, column_step, row_step in _PASSES if self.interlacing else _WHOLE:
            columns = -(-(self.width - column) // column_step)
            rows = -(-(self.height - row) // row_step)
            if columns > 0:
                yield from repeat(_row_bytes(columns, self.bits_per_pixel), max(rows, 0))


def read_chunks(png: bytes) -> Iterator[Chunk]:
    """The chunks up to IEND or to where the file stops making sense."""
    view = memoryview(png)
    position = len(SIGNATURE)
    while position + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        start = position + 8
        end = start + length
        if not kind.isalpha() or kind == _END:
            return
        checksum = png[end : end + _CHECKSUM_BYTES]
        right = zlib.crc32(view[position + 4 : end]).to_bytes(_CHECKSUM_BYTES)
        yield Chunk(kind, png[start:end], checksum == right)
        position = end + _CHECKSUM_BYTES


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _row_bytes(columns: int, bits_per_pixel: int) -> int:
    """A row begins with the number of its filter."""
    return 1 + (columns * bits_per_pixel + 7) // 8
