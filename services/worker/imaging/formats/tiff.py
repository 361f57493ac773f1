"""TIFF: choosing the page, checking its layout and decoding it.

Pillow gets the file with a directory that this module writes: only the fields that describe the
pixels of one page. So it reads no metadata, thumbnail or other page.
"""

from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, TiffImagePlugin

from services.common.errors import ImageDamaged
from services.worker.imaging.formats import tiff_samples
from services.worker.imaging.formats.exif import ORIENTATIONS, UPRIGHT
from services.worker.imaging.formats.layouts import require_supported
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
    rows_missing,
)
from services.worker.imaging.formats.tiff_directory import (
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    MalformedTiff,
    Value,
    with_directory,
)
from services.worker.imaging.formats.tiff_layout import (
    BLACK_IS_ZERO,
    FLOAT,
    JPEG,
    SIGNED,
    WHITE_IS_ZERO,
    PixelFormat,
    Tag,
    not_supported,
    pixel_format,
)
from services.worker.imaging.formats.tiff_pages import choose_page

TiffImagePlugin.READ_LIBTIFF = True  # for uncompressed pixels too, so that there is one decoder

_COPIED_FIELDS: Final = {
    Tag.FILL_ORDER: SHORT,
    Tag.ROWS_PER_STRIP: LONG,
    Tag.T4_OPTIONS: LONG,
    Tag.T6_OPTIONS: LONG,
    Tag.TILE_WIDTH: LONG,
    Tag.TILE_LENGTH: LONG,
    Tag.YCBCR_SUBSAMPLING: SHORT,
    Tag.YCBCR_POSITIONING: SHORT,
}
_COPIED_BYTES: Final = {
    Tag.JPEG_TABLES: UNDEFINED,
    Tag.YCBCR_COEFFICIENTS: RATIONAL,
    Tag.REFERENCE_BLACK_WHITE: RATIONAL,
}
_DATA_FIELDS: Final = (
    (Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS),
    (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS),
)

_END_OF_JPEG: Final = b"\xff\xd9"
_JPEG_PADDING: Final = 64
"""Bytes that may follow the end of a JPEG in its strip or tile."""

_TWELVE_BITS: Final = 12


class TiffImage(SourceImage):
    """One full-resolution page of a TIFF."""

    def __init__(self, content: bytes, *, page: int) -> None:
        self._content = content
        try:
            self._directory = choose_page(content, page)
            self._pixels = pixel_format(self._directory)
            require_supported("tiff", self._pixels.layout)
            self._data = _data(self._directory)
            orientation = self._directory.integer(Tag.ORIENTATION, UPRIGHT)
            self._nodata = _number(self._directory.bytes_of(Tag.GDAL_NODATA))
            self._copied = _copied_fields(self._directory)
            self._color_map = _color_map(self._directory)
            self.profile = self._directory.bytes_of(Tag.ICC_PROFILE) or None
        except MalformedTiff as malformed:
            raise _header_damaged() from malformed
        self.size = self._pixels.size
        self.orientation = orientation if orientation in ORIENTATIONS else UPRIGHT

    def decode(self, options: DecodeOptions) -> Decoded:
        width, height = self.size
        try:
            return Decoded(self._decoded(height))
        except DECODER_ERRORS as damaged:
            if not options.keep_damaged:
                raise ImageDamaged("The pixels of the TIFF are damaged or cut off.") from damaged
        complete, image = self._largest_decodable()
        return Decoded(image.crop((0, 0, width, height)), rows_missing(complete, height))

    def _largest_decodable(self) -> tuple[int, Image.Image]:
        """The largest upper part of whole strips or tiles that can be decoded, and its rows."""
        height = self.size[1]
        part = self._pixels.tile[1] if self._pixels.tile else self._rows_per_strip()
        decodable, damaged, image = 0, -(-height // part), None
        while damaged - decodable > 1:
            middle = (decodable + damaged) // 2
            try:
                image = self._decoded(middle * part)
                decodable = middle
            except DECODER_ERRORS:
                damaged = middle
        if image is None:
            raise ImageDamaged("No pixels of the TIFF can be decoded.")
        return decodable * part, self._decoded(decodable * part)

    def _rows_per_strip(self) -> int:
        _, values = self._copied.get(Tag.ROWS_PER_STRIP, (LONG, (self.size[1],)))
        return max(1, min(int(values[0]), self.size[1]))

    def _decoded(self, rows: int) -> Image.Image:
        """The upper ``rows``. Raises one of ``DECODER_ERRORS``."""
        if self._pixels.compression == JPEG:
            self._check_jpeg_ends(rows)
        if _is_decoded_by_pillow(self._pixels):
            image = self._decoded_by_pillow(rows)
        else:
            image = self._merged_samples(rows)
        if self._pixels.photometric == WHITE_IS_ZERO:
            image = _with_inverted_gray(image)
        return image

    def _check_jpeg_ends(self, rows: int) -> None:
        """libtiff fills what is missing of a JPEG with gray, without an error."""
        part = self._pixels.tile[1] if self._pixels.tile else self._rows_per_strip()
        offsets, counts = self._data[1]
        parts = len(offsets) * min(rows, self.size[1]) // self.size[1] if part else len(offsets)
        for offset, count in zip(offsets[:parts], counts[:parts], strict=False):
            end = offset + count
            if _END_OF_JPEG not in self._content[max(offset, end - _JPEG_PADDING) : end]:
                raise OSError("A JPEG in the TIFF has no end.")

    def _decoded_by_pillow(self, rows: int) -> Image.Image:
        pixels = self._pixels
        fields = self._fields(rows, data=self._data) | {
            Tag.IMAGE_WIDTH: (LONG, (pixels.size[0],)),
            Tag.BITS_PER_SAMPLE: (SHORT, (pixels.bits,) * pixels.channels),
            Tag.PHOTOMETRIC: (SHORT, (max(pixels.photometric, BLACK_IS_ZERO),)),
            Tag.SAMPLES_PER_PIXEL: (SHORT, (pixels.channels,)),
            Tag.PREDICTOR: (SHORT, (pixels.predictor,)),
            **self._color_map,
        }
        if pixels.channels > pixels.color_channels:
            meaning = 0 if pixels.alpha is None else 1 if pixels.is_premultiplied else 2
            fields[Tag.EXTRA_SAMPLES] = (SHORT, (meaning,))
        image = self._load(fields)
        if image.mode.startswith("I;16"):
            return _eight_bits(image, pixels.bits)
        return image

    def _merged_samples(self, rows: int) -> Image.Image:
        pixels = self._pixels
        *colors, last = tiff_samples.channels_of(
            pixels,
            rows,
            lambda plane: self._bytes_as_pixels(rows, plane),
            byte_order=self._directory.byte_order,
            nodata=self._nodata,
        )
        mode = {"gray": "L", "RGB": "RGB", "CMYK": "CMYK"}[pixels.color]
        if pixels.alpha is not None:
            mode = {"L": "LA", "RGB": "RGBA"}[mode]
            mode = mode.replace("A", "a") if pixels.is_premultiplied else mode
        return Image.merge(mode, [*colors, last]) if colors else last

    def _bytes_as_pixels(self, rows: int, plane: int) -> Image.Image:
        """The decompressed bytes of a plane, as an image of mode L."""
        pixels = self._pixels
        sample_bytes = pixels.bits // 8 * (1 if pixels.is_planar else pixels.channels)
        width = pixels.size[0]
        data = _of_plane(self._data, plane, pixels.channels) if pixels.is_planar else self._data
        fields = self._fields(rows, data=data)
        if pixels.tile:
            tile_width, _ = pixels.tile
            width = -(-width // tile_width) * tile_width
            fields[Tag.TILE_WIDTH] = (LONG, (tile_width * sample_bytes,))
        fields |= {
            Tag.IMAGE_WIDTH: (LONG, (width * sample_bytes,)),
            Tag.BITS_PER_SAMPLE: (SHORT, (8,)),
            Tag.PHOTOMETRIC: (SHORT, (BLACK_IS_ZERO,)),
            Tag.SAMPLES_PER_PIXEL: (SHORT, (1,)),
        }
        return self._load(fields)

    def _fields(self, rows: int, *, data: "_Data") -> dict[int, tuple[int, Value]]:
        (offsets_tag, counts_tag), (offsets, counts) = data
        fields: dict[int, tuple[int, Value]] = {
            **self._copied,
            Tag.IMAGE_LENGTH: (LONG, (rows,)),
            Tag.COMPRESSION: (SHORT, (self._pixels.compression,)),
            offsets_tag: (LONG, offsets),
        }
        if counts:
            fields[counts_tag] = (LONG, counts)
        return fields

    def _load(self, fields: dict[int, tuple[int, Value]]) -> Image.Image:
        byte_order = self._directory.byte_order
        if self._pixels.bits == _TWELVE_BITS:
            byte_order = "<"  # no samples are whole bytes, and Pillow knows only this order
        content = with_directory(self._content, byte_order, fields)
        image = TiffImagePlugin.TiffImageFile(BytesIO(content))
        image.load()
        return image


_Data = tuple[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]]
"""The tags of offsets and byte counts of strips or tiles, and their values."""


def _data(directory: Directory) -> _Data:
    for offsets_tag, counts_tag in _DATA_FIELDS:
        offsets, counts = directory.integers(offsets_tag), directory.integers(counts_tag)
        if offsets:
            if 0 in counts:
                raise not_supported("missing strips or tiles (a sparse file)")
            return (offsets_tag, counts_tag), (offsets, counts)
    raise _header_damaged()


def _of_plane(data: _Data, plane: int, planes: int) -> _Data:
    tags, (offsets, counts) = data
    size = len(offsets) // planes
    part = slice(plane * size, (plane + 1) * size)
    return tags, (offsets[part], counts[part])


def _copied_fields(directory: Directory) -> dict[int, tuple[int, Value]]:
    fields: dict[int, tuple[int, Value]] = {}
    for tag, kind in _COPIED_FIELDS.items():
        if numbers := directory.integers(tag):
            fields[tag] = (kind, numbers)
    for tag, kind in _COPIED_BYTES.items():
        values = directory.values(tag)
        if values and isinstance(values, bytes):
            fields[tag] = (kind, values)
    return fields


def _color_map(directory: Directory) -> dict[int, tuple[int, Value]]:
    colors = directory.integers(Tag.COLOR_MAP)
    if not colors:
        return {}
    if max(colors) < 256:  # written by programs that use 8 bits, which libtiff recognizes too
        colors = tuple(color * 257 for color in colors)
    return {Tag.COLOR_MAP: (SHORT, colors)}


def _number(text: bytes) -> float | None:
    try:
        return float(text.rstrip(b"\0 "))
    except ValueError:
        return None


def _is_decoded_by_pillow(pixels: PixelFormat) -> bool:
    """Whether Pillow has a decoder for the layout. ``tiff_samples`` decodes the others."""
    if pixels.layout.storage not in {"chunky", "planar"}:
        return True
    if pixels.is_planar or pixels.sample_format in {SIGNED, FLOAT} or pixels.bits > 16:
        return False
    extra_channels = pixels.channels - pixels.color_channels
    return extra_channels == 0 or (extra_channels == 1 and pixels.color == "RGB")


def _eight_bits(image: Image.Image, bits: int) -> Image.Image:
    """Gray with more than 8 bits, in mode L."""
    scale = 255 / (2**bits - 1)
    # Pillow truncates, so a half is added to round.
    return image.convert("I").convert("F").point(lambda sample: sample * scale + 0.5).convert("L")


def _with_inverted_gray(image: Image.Image) -> Image.Image:
    gray, *alpha = image.convert("L").split() if image.mode == "1" else image.split()
    inverted = ImageChops.invert(gray)
    return Image.merge(image.mode, [inverted, *alpha]) if alpha else inverted


def _header_damaged() -> ImageDamaged:
    return ImageDamaged("The header of the TIFF is damaged.")
