"""The blocks of a GIF ("Graphics Interchange Format, Version 89a", CompuServe)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.common.operations import Size

_SCREEN_END: Final = 13
"""Bytes of the signature and the logical screen descriptor."""
_EXTENSION, _IMAGE = 0x21, 0x2C
_GRAPHIC_CONTROL: Final = 0xF9

_MAX_CODES: Final = 4096

KEEP, RESTORE_BACKGROUND, RESTORE_PREVIOUS = 1, 2, 3
"""Disposal methods: what happens to a frame before the next one."""


class MalformedGif(Exception):
    """The file ends before its first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    left: int
    top: int
    size: Size
    is_interlaced: bool
    palette: bytes
    """Red, green and blue of each color; empty if the file has none for the frame."""
    transparent: int | None
    """The color that is transparent."""
    disposal: int
    data: bytes
    """The size of the first LZW code, and the sub-blocks with the codes."""


def read_screen_size(gif: bytes) -> Size:
    """Raises ``MalformedGif``."""
    try:
        width, height = struct.unpack_from("<HH", gif, 6)
    except struct.error as short:
        raise MalformedGif("The file is cut off.") from short
    return width, height


def read_frames(gif: bytes) -> Iterator[Frame]:
    """The frames, up to where the file ends or stops making sense."""
    try:
        yield from _read_frames(gif)
    except (struct.error, IndexError):
        return


def _read_frames(gif: bytes) -> Iterator[Frame]:
    colors, position = _palette(gif, gif[10], _SCREEN_END)
    transparent, disposal = None, 0
    while True:
        kind = gif[position]
        if kind == _EXTENSION:
            if gif[position + 1] == _GRAPHIC_CONTROL:
                flags, index = struct.unpack_from("<B2xB", gif, position + 3)
                transparent, disposal = (index if flags & 1 else None), flags >> 2 & 7
            position = _end_of_blocks(gif, position + 2)
        elif kind == _IMAGE:
            left, top, width, height, flags = struct.unpack_from("<HHHHB", gif, position + 1)
            own_colors, start = _palette(gif, flags, position + 10)
            position = _end_of_blocks(gif, start + 1)
            yield Frame(
                left=left,
                top=top,
                size=(width, height),
                is_interlaced=bool(flags & 0x40),
                palette=own_colors or colors,
                transparent=transparent,
                disposal=disposal,
                data=gif[start:position],
            )
            transparent, disposal = None, 0
        else:
            return


def _palette(gif: bytes, flags: int, start: int) -> tuple[bytes, int]:
    """A color table, if the flags announce one, and where it ends."""
    end = start + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    return gif[start:end], end


def _end_of_blocks(gif: bytes, position: int) -> int:
    """Where the sub-blocks that begin here end, their terminator included."""
    while position < len(gif) and gif[position]:
        position += 1 + gif[position]
    return min(position + 1, len(gif))


def as_gif(frame: Frame) -> bytes:
    """A GIF of only this frame, without transparency and at its own size."""
    width, height = frame.size
    colors = (len(frame.palette) // 3 - 1).bit_length()
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x80 | (colors - 1), 0, 0)
    flags = 0x40 if frame.is_interlaced else 0
    image = struct.pack("<BHHHHB", _IMAGE, 0, 0, width, height, flags)
    return screen + frame.palette + image + frame.data + b"\0\x3b"


def count_pixels(frame: Frame) -> int:
    """How many pixels the codes of a damaged frame describe (appendix F).

    Each new code stands for the pixels of the last one and one more, so lengths are enough.
    """
    clear = 1 << frame.data[0]
    lengths, size, previous, pixels = [1] * clear + [0, 0], frame.data[0] + 1, 0, 0
    buffer = available = 0
    for byte in _codes(frame.data):
        buffer |= byte << available
        available += 8
        while available >= size:
            code = buffer & ((1 << size) - 1)
            buffer >>= size
            available -= size
            if code == clear:
                del lengths[clear + 2 :]
                size, previous = frame.data[0] + 1, 0
                continue
            if code == clear + 1 or code > len(lengths) - (previous == 0):
                return pixels
            length = lengths[code] if code < len(lengths) else previous + 1
            if previous and len(lengths) < _MAX_CODES:
                lengths.append(previous + 1)
                size += len(lengths) == 1 << size < _MAX_CODES
            pixels += length
            previous = length
    return pixels


def _codes(data: bytes) -> bytes:
    """The content of the sub-blocks."""
    parts, position = [], 1
    while position < len(data) and data[position]:
        parts.append(data[position + 1 : position + 1 + data[position]])
        position += 1 + data[position]
    return b"".join(parts)
