"""Naming the image formats that are not supported, for the error message."""

import struct
from collections.abc import Set as AbstractSet
from typing import Final

_SIGNATURES: Final = (
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"icns", "ICNS"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"FLIF", "FLIF"),
    (b"SDPX", "DPX"),
    (b"XPDS", "DPX"),
    (b"\xabKTX ", "KTX"),
    (b"BPG\xfb", "BPG"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"gimp xcf", "GIMP"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF-", "PDF"),
    (b"SIMPLE  =", "FITS"),
    (b"AT&TFORM", "DjVu"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"\x01\xda\x00", "SGI"),
    (b"\x01\xda\x01", "SGI"),
    (b"/* XPM */", "XPM"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    *((b"P%d" % kind, "PNM") for kind in range(1, 8)),
    (b"IIRO", "camera raw (Olympus ORF)"),
    (b"IIRS", "camera raw (Olympus ORF)"),
    (b"MMOR", "camera raw (Olympus ORF)"),
    (b"IIU\0", "camera raw (Panasonic RW2)"),
    (b"FUJIFILMCCD-RAW", "camera raw (Fujifilm RAF)"),
    (b"FOVb", "camera raw (Sigma X3F)"),
    (b"\0MRM", "camera raw (Minolta MRW)"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera raw (Canon CRW)"),
)

_BRANDS: Final = {
    b"crx ": "camera raw (Canon CR3)",
    b"jp2 ": "JPEG 2000",
    b"jpx ": "JPEG 2000",
    b"jph ": "JPEG 2000",
    b"jxl ": "JPEG XL",
    b"jxs ": "JPEG XS",
}
"""Of ISO base media files."""

_DICOM_AT: Final = 128
_EMF_AT: Final = 40

_TGA_HEADER: Final = struct.Struct("<xBB4xB4xHHBB")
_TGA_KINDS: Final = frozenset({1, 2, 3, 9, 10, 11})
_TGA_WITH_MAP: Final = frozenset({1, 9})
_TGA_BITS: Final = frozenset({1, 8, 15, 16, 24, 32})
_TGA_INTERLEAVING: Final = 0xC0
"""Reserved bits of the descriptor ("Truevision TGA File Format Specification", version 2.0)."""

_PCX_VERSIONS: Final = frozenset({0, 2, 3, 4, 5})
_PCX_BITS: Final = frozenset({1, 2, 4, 8})


def name_of(head: bytes, brands: AbstractSet[bytes]) -> str | None:
    """The name of the format, or None if it is not known. ``brands`` are those of an ISO file."""
    for brand, name in _BRANDS.items():
        if brand in brands:
            return name
    if _is_tga(head):  # first, because the signature of CUR fits some
        return "TGA"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    return _name_by_structure(head)


def _name_by_structure(head: bytes) -> str | None:
    if head[:2] == b"BA" and head[14:16] == b"BM":
        return "an OS/2 bitmap array"
    if head[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "DICOM"
    if head[:4] == b"\1\0\0\0" and head[_EMF_AT : _EMF_AT + 4] == b" EMF":
        return "EMF"
    if _is_pcx(head):
        return "PCX"
    text = text_of(head)
    if text.startswith(b"#define") and b"_width" in text:
        return "XBM"
    return "SVG" if text.startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in text else None


def text_of(head: bytes) -> bytes:
    """In lower case, without a byte order mark and space in front."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _is_pcx(head: bytes) -> bool:
    is_run_length = head[2:3] == b"\1"
    return head[:1] == b"\n" and is_run_length and head[1] in _PCX_VERSIONS and head[3] in _PCX_BITS


def _is_tga(head: bytes) -> bool:
    """Whether every field of the header is plausible. TGA has no signature at its start."""
    if len(head) < _TGA_HEADER.size:
        return False
    has_map, kind, map_bits, width, height, bits, flags = _TGA_HEADER.unpack_from(head)
    is_map_plausible = has_map == 1 if kind in _TGA_WITH_MAP else has_map <= 1
    is_map_description_plausible = map_bits in _TGA_BITS if has_map else head[3:8] == bytes(5)
    return (
        kind in _TGA_KINDS
        and is_map_plausible
        and is_map_description_plausible
        and min(width, height) > 0
        and bits in _TGA_BITS
        and not flags & _TGA_INTERLEAVING
    )
