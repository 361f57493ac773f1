"""Detecting a file's format by its first bytes, before any image parser runs.

File names, extensions and content types are ignored because the client controls them.
"""

import struct
from typing import Final

from services.common.errors import ImageFormatNotSupported, NotAnImage
from services.common.operations import Format

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

_UNSUPPORTED: Final = (
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"gimp xcf", "GIMP"),
    (b"%!PS", "PostScript"),
    (b"%PDF-", "PDF"),
    (b"SIMPLE  =", "FITS"),
    (b"AT&TFORM", "DjVu"),
    *((b"P%d" % kind, "PNM") for kind in range(1, 8)),
)

_BMP_HEADER_SIZES: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""OS/2 1.x and 2.x, and Windows 3.0 to 5. The two letters alone would accept a text that starts
with "BMW"."""

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})


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
    if brands & _HEIF_BRANDS:
        raise _not_supported("HEIF")
    for signature, name in _UNSUPPORTED:
        if head.startswith(signature):
            raise _not_supported(name)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        raise _not_supported("SVG")
    if text.startswith((b"<!doctype html", b"<html")):
        raise NotAnImage("The content is an HTML page, not an image.")
    if not head:
        raise NotAnImage("The content is empty.")
    raise NotAnImage("The content is not an image.")


def _ftyp_brands(head: bytes) -> frozenset[bytes]:
    """The major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return frozenset()
    (size,) = struct.unpack_from(">I", head)
    compatible = head[16 : min(size, len(head))]
    return frozenset({head[8:12], *(compatible[i : i + 4] for i in range(0, len(compatible), 4))})


def _not_supported(name: str) -> ImageFormatNotSupported:
    return ImageFormatNotSupported(
        f"The content looks like {name}. "
        "The supported formats are JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP."
    )
