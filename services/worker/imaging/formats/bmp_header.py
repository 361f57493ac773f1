"""The headers of a BMP ("Bitmap Storage" and "BITMAPV5HEADER structure", Windows GDI)."""

import struct
from dataclasses import dataclass
from typing import Final

from services.common.errors import ImageDamaged
from services.common.operations import Size

_FILE_HEADER: Final = 14
_CORE: Final = 12
"""BITMAPCOREHEADER, also of OS/2 1.x."""
_OS2_SHORT: Final = 16
_INFO: Final = 40
"""BITMAPINFOHEADER. Longer headers begin like it."""
_WITH_MASKS: Final = 52
_WITH_ALPHA_MASK: Final = 56
_OS2: Final = 64
_V5: Final = 124

PLAIN: Final = 0
RLE8: Final = 1
RLE4: Final = 2
BIT_FIELDS: Final = 3
ALPHA_BIT_FIELDS: Final = 6

_MASKS: Final = {16: (0x7C00, 0x3E0, 0x1F, 0)}
_MASKS_OF_BYTES: Final = (0xFF0000, 0xFF00, 0xFF, 0)
"""Of red, green, blue and alpha, in images without bit fields."""

_EMBEDDED: Final = 0x4D424544
"""PROFILE_EMBEDDED. A linked profile would be a file on the machine of the author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BmpHeader:
    size: Size
    is_top_down: bool
    bits: int
    compression: int
    is_os2: bool
    """The header is one of OS/2 2.x, which gives some compressions another meaning."""
    masks: tuple[int, int, int, int]
    """Of red, green, blue and alpha."""
    palette: bytes
    """Red, green and blue of each color."""
    pixels_at: int
    profile: bytes | None

    @property
    def row_bytes(self) -> int:
        """Rows are padded to whole double words."""
        return (self.size[0] * self.bits + 31) // 32 * 4


def read_header(bmp: bytes) -> BmpHeader:
    """Raises ``ImageDamaged``."""
    try:
        return _read_header(bmp)
    except struct.error as short:
        raise ImageDamaged("The header of the BMP is cut off.") from short


def _read_header(bmp: bytes) -> BmpHeader:
    pixels_at, header_bytes = struct.unpack_from("<II", bmp, 10)
    compression, colors = PLAIN, 0
    if header_bytes == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", bmp, _FILE_HEADER + 4)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", bmp, _FILE_HEADER + 4)
    if header_bytes >= _INFO:
        compression, _, _, _, colors = struct.unpack_from("<IIiiI", bmp, _FILE_HEADER + 16)
    if width <= 0 or height == 0:
        raise ImageDamaged("The BMP has no valid size.")
    is_os2 = header_bytes in {_OS2_SHORT, _OS2}
    masks = _masks(bmp, header_bytes, bits, 0 if is_os2 else compression)
    palette_at = _FILE_HEADER + header_bytes
    if header_bytes == _INFO:
        palette_at += {BIT_FIELDS: 12, ALPHA_BIT_FIELDS: 16}.get(compression, 0)
    color_bytes = 3 if header_bytes == _CORE else 4
    room = max(pixels_at - palette_at, 0) // color_bytes
    count = min(colors or 2**bits, 2**bits, room) if bits <= 8 else 0
    return BmpHeader(
        size=(width, abs(height)),
        is_top_down=height < 0,
        bits=bits,
        compression=compression,
        is_os2=is_os2,
        masks=masks,
        palette=_palette(bmp[palette_at : palette_at + count * color_bytes], color_bytes),
        pixels_at=pixels_at,
        profile=_profile(bmp) if header_bytes == _V5 else None,
    )


def _masks(bmp: bytes, header_bytes: int, bits: int, compression: int) -> tuple[int, int, int, int]:
    if compression not in {BIT_FIELDS, ALPHA_BIT_FIELDS}:
        return _MASKS.get(bits, _MASKS_OF_BYTES)
    has_alpha = header_bytes >= _WITH_ALPHA_MASK or compression == ALPHA_BIT_FIELDS
    masks = struct.unpack_from("<4I" if has_alpha else "<3I", bmp, _FILE_HEADER + _INFO)
    red, green, blue, *alpha = masks
    return red, green, blue, alpha[0] if alpha else 0


def _palette(colors: bytes, color_bytes: int) -> bytes:
    """The file has blue, green and red, and a zero in most versions."""
    count = len(colors) // color_bytes
    palette = bytearray(3 * count)
    for channel in range(3):
        palette[channel::3] = colors[2 - channel : count * color_bytes : color_bytes]
    return bytes(palette)


def _profile(bmp: bytes) -> bytes | None:
    (color_space,) = struct.unpack_from("<I", bmp, _FILE_HEADER + 56)
    offset, size = struct.unpack_from("<II", bmp, _FILE_HEADER + 112)
    start = _FILE_HEADER + offset
    return bmp[start : start + size] if color_space == _EMBEDDED else None
