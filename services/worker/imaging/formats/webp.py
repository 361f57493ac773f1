"""WebP: its size, pages and metadata by its chunks; libwebp decodes the pixels."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Final, NamedTuple

from PIL import WebPImagePlugin

from services.common.errors import ImageDamaged, PageNotFound
from services.common.operations import Size
from services.worker.imaging.formats.exif import orientation_in
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
)

_RIFF_HEADER: Final = 12
_CHUNK_HEADER: Final = 8

_ALPHA_FLAG: Final = 0x10
"""In VP8X ("Extended File Format", WebP Container Specification)."""
_LOSSY_START: Final = b"\x9d\x01\x2a"
_SIDE_BITS: Final = 14


class _Chunk(NamedTuple):
    kind: bytes
    data: bytes


class WebPImage(SourceImage):
    """A WebP, or one frame of an animated WebP."""

    def __init__(self, content: bytes, *, page: int) -> None:
        self._content = content
        self._page = page
        chunks = list(_chunks(content))
        found = {each.kind: each.data for each in reversed(chunks)}
        frames = sum(each.kind == b"ANMF" for each in chunks) or 1
        try:
            self.size = _size(found)
            has_alpha = _has_alpha(found)
        except (struct.error, LookupError, ValueError) as malformed:
            raise ImageDamaged("The header of the WebP is damaged.") from malformed
        if 0 in self.size:
            raise ImageDamaged("The WebP has no valid size.")
        if page > frames:
            raise PageNotFound(f"The WebP has {frames} frames.")
        storage = "lossless" if b"VP8L" in found else "lossy"
        require_supported(
            "webp",
            Layout(
                "RGB + alpha" if has_alpha else "RGB",
                "8-bit",
                "animated" if b"ANMF" in found else storage,
            ),
        )
        self.orientation = orientation_in(found.get(b"EXIF", b""))
        self.profile = found.get(b"ICCP") or None

    def decode(self, options: DecodeOptions) -> Decoded:  # noqa: ARG002 - all or nothing
        try:
            image = WebPImagePlugin.WebPImageFile(BytesIO(self._content))
            image.seek(self._page - 1)
            image.load()
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The WebP is damaged or cut off.") from damaged
        return Decoded(image)


def _chunks(webp: bytes) -> Iterator[_Chunk]:
    position = _RIFF_HEADER
    while position + _CHUNK_HEADER <= len(webp):
        kind, size = struct.unpack_from("<4sI", webp, position)
        start = position + _CHUNK_HEADER
        yield _Chunk(kind, webp[start : start + size])
        position = start + size + size % 2


def _size(found: dict[bytes, bytes]) -> Size:
    """Of the canvas. Raises ``struct.error``, ``LookupError`` or ``ValueError``."""
    if extended := found.get(b"VP8X"):
        width, height = extended[4:7], extended[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    mask = 2**_SIDE_BITS - 1
    if lossless := found.get(b"VP8L"):
        (bits,) = struct.unpack_from("<I", lossless, 1)
        return (bits & mask) + 1, (bits >> _SIDE_BITS & mask) + 1
    start = found[b"VP8 "].index(_LOSSY_START) + len(_LOSSY_START)
    width, height = struct.unpack_from("<HH", found[b"VP8 "], start)
    return width & mask, height & mask


def _has_alpha(found: dict[bytes, bytes]) -> bool:
    if extended := found.get(b"VP8X"):
        return bool(extended[0] & _ALPHA_FLAG)
    lossless = found.get(b"VP8L")
    return lossless is not None and bool(lossless[4] >> 4 & 1)
