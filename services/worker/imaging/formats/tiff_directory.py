"""Reading and writing TIFF directories, which EXIF uses too.

The layout is that of "TIFF Revision 6.0" (Adobe, 1992), section 2, and of BigTIFF ("BigTIFF
Design", libtiff documentation).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Value: TypeAlias = tuple[int, ...] | tuple[float, ...] | bytes

_BYTE: Final = 1
SHORT: Final = 3
LONG: Final = 4
RATIONAL: Final = 5
UNDEFINED: Final = 7

_BIG: Final = 43
"""The version of BigTIFF. That of TIFF is 42."""

_CODES: Final = {
    3: "H",
    4: "I",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",  # IFD
    16: "Q",
    17: "q",
    18: "Q",  # IFD8
}
"""The types with numbers as values, by their codes in ``struct``."""
_SIZES: Final = {1: 1, 2: 1, 5: 8, 6: 1, 7: 1, 10: 8} | {
    kind: struct.calcsize(f"<{code}") for kind, code in _CODES.items()
}
"""Bytes per value of each type."""


_INLINE_BYTES: Final = 4
"""Longer values are outside the entry."""


class MalformedTiff(Exception):
    """The directory lies outside the file, or is none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One field: its type, the number of its values, and where they are in the file."""

    kind: int
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The fields of one directory, by tag."""

    content: bytes
    byte_order: str
    """As in ``struct``: ``<`` or ``>``."""
    entries: Mapping[int, Entry]
    next_offset: int
    """Where the next directory of the chain is; 0 after the last."""

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def values(self, tag: int) -> Value:
        """The values of a field, or ``()`` if there is none. Raises ``MalformedTiff``."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _SIZES:
            return ()
        end = entry.offset + entry.count * _SIZES[entry.kind]
        if end > len(self.content):
            raise MalformedTiff(f"The values of tag {tag} are outside the file.")
        data = self.content[entry.offset : end]
        code = _CODES.get(entry.kind)
        if code is not None:
            return struct.unpack(f"{self.byte_order}{entry.count}{code}", data)
        return tuple(data) if entry.kind == _BYTE else data

    def integers(self, tag: int) -> tuple[int, ...]:
        """The values of a field of whole numbers. Raises ``MalformedTiff``."""
        values = self.values(tag)
        if isinstance(values, bytes) or not all(isinstance(value, int) for value in values):
            raise MalformedTiff(f"Tag {tag} has another type than whole numbers.")
        return tuple(int(value) for value in values)

    def integer(self, tag: int, default: int) -> int:
        """The first value of a field, or ``default``. Raises ``MalformedTiff``."""
        values = self.integers(tag)
        return values[0] if values else default

    def bytes_of(self, tag: int) -> bytes:
        """The values of a field of bytes or text. Raises ``MalformedTiff``."""
        values = self.values(tag)
        if isinstance(values, bytes):
            return values
        return bytes(int(value) for value in values) if self._has_bytes(tag) else b""

    def _has_bytes(self, tag: int) -> bool:
        return tag in self.entries and self.entries[tag].kind == _BYTE


@dataclass(frozen=True, slots=True)
class _Header:
    byte_order: str
    is_big: bool
    first_offset: int


def read_chain(content: bytes, *, limit: int) -> Iterator[Directory]:
    """The directories of the main chain, at most ``limit``. Raises ``MalformedTiff``."""
    header = _read_header(content)
    offset, seen = header.first_offset, set[int]()
    while offset and offset not in seen and len(seen) < limit:
        seen.add(offset)
        directory = _read_directory(content, header, offset)
        yield directory
        offset = directory.next_offset


def read_at(content: bytes, offset: int) -> Directory:
    """The directory at an offset, to which a field points. Raises ``MalformedTiff``."""
    return _read_directory(content, _read_header(content), offset)


def _read_header(content: bytes) -> _Header:
    byte_order = {b"II": "<", b"MM": ">"}.get(content[:2])
    try:
        if byte_order is None:
            raise MalformedTiff("There is no byte order.")
        (version,) = struct.unpack_from(f"{byte_order}H", content, 2)
        is_big = version == _BIG
        (first,) = struct.unpack_from(
            f"{byte_order}{'Q' if is_big else 'I'}", content, 8 if is_big else 4
        )
    except struct.error as short:
        raise MalformedTiff("The header is cut off.") from short
    return _Header(byte_order, is_big, first)


def _read_directory(content: bytes, header: _Header, offset: int) -> Directory:
    order, is_big = header.byte_order, header.is_big
    number = "Q" if is_big else "I"
    entry_format = struct.Struct(f"{order}HH{number}")
    entry_size, value_size = (20, 8) if is_big else (12, 4)
    entries: dict[int, Entry] = {}
    try:
        (count,) = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", content, offset)
        start = offset + (8 if is_big else 2)
        end = start + count * entry_size
        if end > len(content):
            raise MalformedTiff("The directory is cut off.")
        for position in range(start, end, entry_size):
            tag, kind, length = entry_format.unpack_from(content, position)
            at = position + entry_size - value_size
            if length * _SIZES.get(kind, 1) > value_size:
                (at,) = struct.unpack_from(f"{order}{number}", content, at)
            entries.setdefault(tag, Entry(kind, length, at))
        next_offset = 0
        if end + value_size <= len(content):
            (next_offset,) = struct.unpack_from(f"{order}{number}", content, end)
    except (struct.error, OverflowError) as short:
        raise MalformedTiff("The directory is cut off.") from short
    return Directory(content, order, entries, next_offset)


def with_directory(
    content: bytes, byte_order: str, fields: Mapping[int, tuple[int, Value]]
) -> bytes:
    """The file with one more directory, to which its header points: a classic TIFF of one image.

    ``fields`` maps tags to a type and its values, which are bytes for the types that are no
    integers. Offsets in values keep their meaning.
    """
    body = bytearray(content)
    body[:4] = b"II*\0" if byte_order == "<" else b"MM\0*"
    body += bytes(len(body) % 2)  # a directory begins on a word boundary
    data_offset = len(body) + 2 + 12 * len(fields) + 4
    entries, data = b"", bytearray()
    for tag, (kind, values) in sorted(fields.items()):
        packed = _packed(byte_order, kind, values)
        entries += struct.pack(f"{byte_order}HHI", tag, kind, len(packed) // _SIZES[kind])
        if len(packed) <= _INLINE_BYTES:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{byte_order}I", data_offset + len(data))
            data += packed + bytes(len(packed) % 2)
    body[4:8] = struct.pack(f"{byte_order}I", len(body))
    body += struct.pack(f"{byte_order}H", len(fields)) + entries + bytes(4) + data
    return bytes(body)


def _packed(byte_order: str, kind: int, values: Value) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(f"{byte_order}{len(values)}{_CODES[kind]}", *values)
