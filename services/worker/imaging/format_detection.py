"""Detecting a file's format by its first bytes, before any image parser runs.

File names, extensions and content types are ignored because the client controls them.
"""

import struct
from typing import Final

from services.common.errors import ImageFormatNotSupported, NotAnImage
from services.common.operations import Format
from services.worker.imaging.other_formats import name_of, text_of

HEAD_BYTES: Final = 512
"""Enough for every signature below, and for the ``<svg`` after a long prolog."""

_ACCEPTED: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
)

_BMP_HEADER_SIZES: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""OS/2 1.x and 2.x, and Windows 3.0 to 5. The two letters alone would accept a text that starts
with "BMW"."""

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset(
    {
        *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
        *(b"mif1", b"mif2", b"msf1", b"avci", b"avcs", b"j2ki", b"jpeg"),
    }
)
"""HEIC, which is HEIF with the codec HEVC, and HEIF with others (ISO/IEC 23008-12)."""

_SUPPORTED: Final = "The supported formats are JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP."
_SEND_INSTEAD_OF_HEIF: Final = (
    "Send a JPEG instead: export the photo as JPEG, or on an iPhone choose "
    "Settings > Camera > Formats > Most Compatible before you take it."
)


def detect_format(head: bytes) -> Format:
    """The format of a file whose first ``HEAD_BYTES`` are ``head``.

    Raises ``ImageFormatNotSupported`` for other image formats and ``NotAnImage`` for anything else.
    """
    for signature, accepted in _ACCEPTED:
        if head.startswith(signature):
            return accepted
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    brands = _ftyp_brands(head)
    if brands & _AVIF_BRANDS:
        return "avif"
    name = name_of(head, brands)
    if name is not None:
        raise ImageFormatNotSupported(f"The content looks like {name}. {_SUPPORTED}")
    if brands & _HEIF_BRANDS:
        raise ImageFormatNotSupported(
            f"The content looks like HEIC or HEIF, which is not supported. {_SEND_INSTEAD_OF_HEIF}"
        )
    raise NotAnImage(_what_it_is(head))


def _what_it_is(head: bytes) -> str:
    if not head:
        return "The content is empty."
    if text_of(head).startswith((b"<!doctype html", b"<html")):
        return "The content is an HTML page, not an image."
    return "The content is not an image."


def _ftyp_brands(head: bytes) -> frozenset[bytes]:
    """The major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return frozenset()
    (size,) = struct.unpack_from(">I", head)
    compatible = head[16 : min(size, len(head))]
    return frozenset({head[8:12], *(compatible[i : i + 4] for i in range(0, len(compatible), 4))})
