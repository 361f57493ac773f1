"""What a file is, by its first bytes alone; no parser of any image format has run yet.

Names, extensions and content types are never asked: they are the stranger's word.
"""

import struct
from typing import Final

from services.common.errors import ImageFormatNotSupported, NotAnImage
from services.common.operations import Format

HEAD_BYTES: Final = 512
"""Enough for every signature below, and for the ``<svg`` behind a long prologue."""

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

_REFUSED: Final = (
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
"""OS/2 1.x and 2.x, and Windows from 3.0 to 5; two letters alone would take 'BMW' for a BMP."""

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})


def sniff(head: bytes) -> Format:
    """The accepted format that a file starting with ``head`` (``HEAD_BYTES`` of it) claims to be.

    Raises ``ImageFormatNotSupported`` for images of other formats and ``NotAnImage`` for
    everything else.
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
        raise _not_allowed("HEIF")
    for signature, refused in _REFUSED:
        if head.startswith(signature):
            raise _not_allowed(refused)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        raise _not_allowed("SVG")
    if text.startswith((b"<!doctype html", b"<html")):
        raise NotAnImage("The content is an HTML page, not an image.")
    if not head:
        raise NotAnImage("The content is empty.")
    raise NotAnImage("The content is not an image.")


def _ftyp_brands(head: bytes) -> frozenset[bytes]:
    """Major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return frozenset()
    (size,) = struct.unpack_from(">I", head)
    compatible = head[16 : min(size, len(head))]
    return frozenset({head[8:12], *(compatible[i : i + 4] for i in range(0, len(compatible), 4))})


def _not_allowed(name: str) -> ImageFormatNotSupported:
    return ImageFormatNotSupported(
        f"The content looks like {name}; accepted are JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP."
    )
