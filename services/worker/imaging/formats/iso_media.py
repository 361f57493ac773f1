"""The properties of the main image in a file of ISO media boxes (ISO/IEC 14496-12, 23008-12)."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_MAX_BOXES: Final = 10_000
_FULL_BOX: Final = 4
"""Version and flags."""


class Box(NamedTuple):
    kind: bytes
    data: bytes


class Properties(NamedTuple):
    main: Sequence[Box]
    """Those of the main image."""
    every: Sequence[Box]
    """Those of all images, such as the tiles of a grid."""


def read_properties(content: bytes) -> Properties:
    """The properties of the images, or none if the boxes make no sense."""
    try:
        meta = _only(boxes(content), b"meta")[_FULL_BOX:]
        item = _main_item(_only(boxes(meta), b"pitm"))
        properties = _only(boxes(meta), b"iprp")
        every = list(boxes(_only(boxes(properties), b"ipco")))
        associations = _only(boxes(properties), b"ipma")
        return Properties([every[index - 1] for index in _indexes(associations, item)], every)
    except (struct.error, LookupError):
        return Properties([], [])


def boxes(content: bytes) -> Iterator[Box]:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > len(content):
            return
        size, kind = struct.unpack_from(">I4s", content, position)
        start = position + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = position + size if size else len(content)
        if end < start:
            return
        yield Box(kind, content[start:end])
        position = end


def _only(found: Iterator[Box], kind: bytes) -> bytes:
    """Raises ``LookupError`` if there is no such box."""
    for box in found:
        if box.kind == kind:
            return box.data
    raise LookupError(kind)


def _main_item(pitm: bytes) -> int:
    (item,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, _FULL_BOX)
    return int(item)


def _indexes(ipma: bytes, wanted: int) -> Iterator[int]:
    """The numbers, from 1, of the properties of an item."""
    version, has_long_indexes = ipma[0], ipma[3] & 1
    (entries,) = struct.unpack_from(">I", ipma, _FULL_BOX)
    position = _FULL_BOX + 4
    item_format = ">I" if version else ">H"
    index_format, mask = (">H", 0x7FFF) if has_long_indexes else (">B", 0x7F)
    for _ in range(entries):
        (item,) = struct.unpack_from(item_format, ipma, position)
        position += struct.calcsize(item_format)
        count = ipma[position]
        position += 1
        for _ in range(count):
            (index,) = struct.unpack_from(index_format, ipma, position)
            position += struct.calcsize(index_format)
            if item == wanted and index & mask:
                yield index & mask
