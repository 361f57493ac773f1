"""PNG: ignoring damaged metadata, honoring color keys and color fields, finding missing pixels.

Pillow gets only the chunks that describe the pixels. It checks neither the checksums of the image
data nor whether the data ends early; this module does. Sections are those of "Portable Network
Graphics (PNG) Specification (Third Edition)" (W3C).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, PngImagePlugin

from services.common.errors import ImageDamaged, ImageFormatNotSupported, PageNotFound
from services.worker.imaging.formats.exif import orientation_in
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.png_chunks import SIGNATURE, Chunk, Header, chunk, read_chunks
from services.worker.imaging.formats.png_color import color_profile
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
    rows_missing,
)

_CHANNELS: Final = {0: "gray", 2: "RGB", 3: "palette", 4: "gray + alpha", 6: "RGB + alpha"}
"""By color type (11.2.1)."""
_KEYED: Final = frozenset({0, 2})
_GRAY: Final = frozenset({0, 4})
_RGB: Final = 2
_PALETTE: Final = 3
_APPLE: Final = b"CgBI"
"""The first chunk of a file that Apple's Xcode has rewritten for its devices."""

_FRAME_CHUNKS: Final = frozenset({b"fcTL", b"fdAT", b"IDAT"})
_UNPACK_STEP: Final = 1024
"""Compressed bytes that are unpacked at a time. They become at most 1 MB."""

_FILTERS: Final = range(5)
"""Filter types (9.2)."""

_LEVELS_8: Final = range(256)
_LEVELS_16: Final = range(65_536)
_TO_8_BITS: Final = [round(level / 257) for level in _LEVELS_16]


class PngImage(SourceImage):
    """A PNG, or one frame of an animated PNG. Page 1 is what programs without animation show."""

    def __init__(self, content: bytes, *, page: int) -> None:
        self._chunks = list(read_chunks(content))
        self._header = header = _header(self._chunks)
        # A damaged chunk counts as missing. Of several chunks of a kind, the first counts.
        self._found = {
            each.kind: each.data
            for each in reversed(self._chunks)
            if each.is_intact and each.kind not in _FRAME_CHUNKS
        }
        if header.color_type == _PALETTE and self._has_more_alphas_than_colors():
            del self._found[b"tRNS"]  # like libpng
        require_supported("png", _layout(header, has_transparency=b"tRNS" in self._found))
        if header.color_type == _PALETTE and b"PLTE" not in self._found:
            raise ImageDamaged("The palette of the PNG is missing or damaged.")
        pages = _page_count(self._chunks)
        if page > pages:
            raise PageNotFound(f"The PNG has {pages} pages.")
        self._page = page
        self.size = header.width, header.height
        self.orientation = orientation_in(self._found.get(b"eXIf", b""))
        self.profile = color_profile(self._found, is_gray=header.color_type in _GRAY)

    def _has_more_alphas_than_colors(self) -> bool:
        return len(self._found.get(b"tRNS", b"")) > len(self._found.get(b"PLTE", b"")) // 3

    def decode(self, options: DecodeOptions) -> Decoded:
        if self._page > 1:
            return Decoded(self._frame())
        parts = [each for each in self._chunks if each.kind == b"IDAT"]
        is_intact = all(each.is_intact for each in parts)
        data = b"".join(each.data for each in parts)
        image = self._loaded_or_none(data)
        # Rows that have not been decoded are zero. If there are none, all rows have been decoded.
        has_all_rows = image is not None and not self._header.interlacing and _has_last_row(image)
        if image is not None and has_all_rows and is_intact:
            return Decoded(image)
        damage = self._damage(data, is_intact=is_intact)
        if damage is not None and not options.keep_damaged:
            raise ImageDamaged(damage)
        if image is not None and damage is None:
            return Decoded(image)
        return Decoded(self._loaded(self._padded(data)), damage)

    def _damage(self, data: bytes, *, is_intact: bool) -> str | None:
        """What is missing of the pixels, or None."""
        header = self._header
        unpacked = _Unpacked(data, header.rows())
        size = sum(map(len, unpacked))
        if size < header.data_bytes() and header.interlacing:
            missing = 1 - size / header.data_bytes()
            return f"The file is damaged: {missing:.1%} of the pixels are missing."
        if size < header.data_bytes():
            return rows_missing(size // header.row_bytes, header.height)
        if not is_intact and not unpacked.has_right_checksum:
            return "The file is damaged: the checksum of the pixels is wrong."
        return None

    def _padded(self, data: bytes) -> bytes:
        """The pixel data, packed again, with zeros in place of what is missing."""
        missing = self._header.data_bytes()
        packer = zlib.compressobj(1)
        parts = []
        for part in _Unpacked(data, self._header.rows()):
            parts.append(packer.compress(part))
            missing -= len(part)
        while missing > 0:
            zeros = bytes(min(missing, 1_000_000))
            parts.append(packer.compress(zeros))
            missing -= len(zeros)
        return b"".join([*parts, packer.flush()])

    # ── Pixels ────────────────────────────────────────────────────────────────────────────────

    def _loaded_or_none(self, data: bytes) -> Image.Image | None:
        try:
            return self._loaded(data)
        except DECODER_ERRORS:
            return None

    def _loaded(self, data: bytes) -> Image.Image:
        """The pixels in 8 bits, with alpha by the color key. Raises one of ``DECODER_ERRORS``."""
        content = b"".join([*self._preamble(), chunk(b"IDAT", data), chunk(b"IEND", b"")])
        image = _decoded(content)
        key = self._key()
        if image.mode == "I;16":
            return _gray_of_16_bits(image.convert("I"), key)
        if key is None:
            return image
        if self._header.bit_depth == 16:
            low = _decoded(content, raw_mode="RGB;16L")  # the less significant bytes
            is_key = _is_key(
                [*image.split(), *low.split()], [*(k >> 8 for k in key), *(k & 255 for k in key)]
            )
            return _with_alpha(image, is_key)
        image = image.convert("L") if image.mode == "1" else image
        scale = 255 // (2**self._header.bit_depth - 1)
        return _with_alpha(image, _is_key(image.split(), [level * scale for level in key]))

    def _preamble(self) -> Iterator[bytes]:
        """The chunks before the pixels."""
        yield SIGNATURE
        yield chunk(b"IHDR", self._found[b"IHDR"])
        if self._header.color_type == _PALETTE:
            for kind in (b"PLTE", b"tRNS"):
                if kind in self._found:
                    yield chunk(kind, self._found[kind])

    def _key(self) -> Sequence[int] | None:
        """The transparent color (11.3.1.1): one level for each channel, or None."""
        data = self._found.get(b"tRNS", b"")
        channels = 3 if self._header.color_type == _RGB else 1
        if self._header.color_type not in _KEYED or len(data) < 2 * channels:
            return None
        levels: tuple[int, ...] = struct.unpack_from(f">{channels}H", data)
        return [level & (2**self._header.bit_depth - 1) for level in levels]

    def _frame(self) -> Image.Image:
        """A frame of an animation, on top of those before it."""
        if self._key() is not None:
            raise ImageFormatNotSupported(
                "The image is an animated PNG with a color key, of which only page 1 is supported."
            )
        frames = [each for each in self._chunks if each.kind in {*_FRAME_CHUNKS, b"acTL"}]
        if not all(each.is_intact for each in frames):
            raise ImageDamaged("A frame of the PNG is damaged.")
        parts = [*self._preamble(), *(chunk(each.kind, each.data) for each in frames)]
        try:
            image = PngImagePlugin.PngImageFile(BytesIO(b"".join([*parts, chunk(b"IEND", b"")])))
            image.seek(self._page - 1)
            image.load()
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("A frame of the PNG is damaged.") from damaged
        return _gray_of_16_bits(image.convert("I"), None) if image.mode == "I;16" else image


class _Unpacked:
    """The pixel data as far as it can be unpacked. Iterate over it once."""

    def __init__(self, data: bytes, rows: Iterator[int]) -> None:
        self._data = data
        self._rows = rows
        self.has_right_checksum = False
        """The end was reached, and the checksum of the data before it is right."""

    def __iter__(self) -> Iterator[bytes]:
        """Ends before a row without a valid filter, and after the last row."""
        row_start = 0  # in the part
        for part in self._parts():
            while row_start < len(part):
                if part[row_start] not in _FILTERS:
                    yield part[:row_start]
                    return
                size = next(self._rows, None)
                if size is None:
                    yield part[:row_start]
                    return
                row_start += size
            yield part
            row_start -= len(part)

    def _parts(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj()
        for start in range(0, len(self._data), _UNPACK_STEP):
            if unpacker.eof:
                break
            step = self._data[start : start + _UNPACK_STEP]
            before = unpacker.copy()
            try:
                yield unpacker.decompress(step)
            except zlib.error:
                yield from _unpacked_bytewise(before, step)
                return
        self.has_right_checksum = unpacker.eof


def _unpacked_bytewise(unpacker: "zlib._Decompress", step: bytes) -> Iterator[bytes]:
    """Everything before the damage."""
    for position in range(len(step)):
        try:
            yield unpacker.decompress(step[position : position + 1])
        except zlib.error:
            return


def _header(chunks: Sequence[Chunk]) -> Header:
    if chunks and chunks[0].kind == _APPLE:
        raise ImageFormatNotSupported(
            "The image is a PNG in Apple's own variant (CgBI), which is not supported."
        )
    if not chunks or chunks[0].kind != b"IHDR" or not chunks[0].is_intact:
        raise ImageDamaged("The header of the PNG is damaged.")
    try:
        header = Header(*struct.unpack(">IIBBBBB", chunks[0].data))
    except struct.error as malformed:
        raise ImageDamaged("The header of the PNG is damaged.") from malformed
    if not header.width or not header.height or header.color_type not in _CHANNELS:
        raise ImageDamaged("The header of the PNG is damaged.")
    if header.compression or header.filters or header.interlacing > 1:
        raise ImageFormatNotSupported("The PNG has a compression method that is not supported.")
    return header


def _layout(header: Header, *, has_transparency: bool) -> Layout:
    channels = _CHANNELS[header.color_type]
    if has_transparency and header.color_type in _KEYED:
        channels += " + key"
    elif has_transparency and header.color_type == _PALETTE:
        channels += " + alpha"
    storage = "interlaced" if header.interlacing else "plain"
    return Layout(channels, f"{header.bit_depth}-bit", storage)


def _page_count(chunks: Sequence[Chunk]) -> int:
    """The frames by acTL (11.3.6.1), and one more if the first image is no frame."""
    count = 0
    for each in chunks:
        if each.kind == b"acTL" and each.is_intact and len(each.data) >= 4:
            count = int.from_bytes(each.data[:4])
        elif each.kind == b"fcTL":
            break
        elif each.kind == b"IDAT":
            count += 1
            break
    return max(count, 1)


def _decoded(content: bytes, raw_mode: str | None = None) -> Image.Image:
    image = PngImagePlugin.PngImageFile(BytesIO(content))
    if raw_mode is not None:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    image.load()
    return image


def _has_last_row(image: Image.Image) -> bool:
    """Whether the lowest row has been decoded to something else than zeros."""
    width, height = image.size
    row = image.crop((0, height - 1, width, height))
    return row.getbbox(alpha_only=False) is not None


def _gray_of_16_bits(image: Image.Image, key: Sequence[int] | None) -> Image.Image:
    """Mode L or LA, of mode I."""
    gray = image.point(_TO_8_BITS, "L")
    if key is None:
        return gray
    return _with_alpha(gray, image.point([255 * (level == key[0]) for level in _LEVELS_16], "L"))


def _is_key(channels: Sequence[Image.Image], key: Sequence[int]) -> Image.Image:
    """White where every channel has the level of the key, else black."""
    is_key = Image.new("L", channels[0].size, 255)
    for channel, level in zip(channels, key, strict=True):
        matches = channel.point([255 * (other == level) for other in _LEVELS_8])
        is_key = ImageChops.multiply(is_key, matches)
    return is_key


def _with_alpha(image: Image.Image, is_transparent: Image.Image) -> Image.Image:
    mode = {"L": "LA", "RGB": "RGBA"}[image.mode]
    return Image.merge(mode, [*image.split(), ImageChops.invert(is_transparent)])
