"""BMP: uncompressed, run-length and bit-field images, decoded here.

Pillow knows only some of the bit fields, and takes an image that ends early by a code for damaged.
"""

from typing import Final

from PIL import Image

from services.common.errors import ImageDamaged
from services.common.operations import Size
from services.worker.imaging.formats import bmp_header
from services.worker.imaging.formats.bmp_header import BmpHeader, read_header
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.source_image import (
    Decoded,
    DecodeOptions,
    SourceImage,
    rows_missing,
)

_LARGEST_PALETTE_BITS: Final = 8
_STORAGES: Final = {
    bmp_header.PLAIN: "plain",
    bmp_header.RLE8: "run-length",
    bmp_header.RLE4: "run-length",
    bmp_header.BIT_FIELDS: "bit fields",
    bmp_header.ALPHA_BIT_FIELDS: "bit fields",
    4: "JPEG",
    5: "PNG",
}
_OS2_STORAGES: Final = {3: "Huffman", 4: "24-bit run-length"}

_PILLOW_MODES: Final = {
    (24, (0xFF0000, 0xFF00, 0xFF, 0)): ("RGB", "BGR"),
    (32, (0xFF0000, 0xFF00, 0xFF, 0)): ("RGB", "BGRX"),
    (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)): ("RGBA", "BGRA"),
}
"""The usual bit fields, which Pillow unpacks fastest."""

_END_OF_LINE, _END_OF_BITMAP, _DELTA = 0, 1, 2
"""Codes after a zero in run-length data."""


class BmpImage(SourceImage):
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._header = read_header(content)
        require_supported("bmp", _layout(self._header))
        self.size = self._header.size
        self.profile = self._header.profile

    def decode(self, options: DecodeOptions) -> Decoded:
        header = self._header
        if header.compression in {bmp_header.RLE4, bmp_header.RLE8}:
            image, complete = self._run_length()
        else:
            image, complete = self._plain()
        damage = None
        if complete < header.size[1]:
            side = "lower" if header.is_top_down else "upper"
            damage = rows_missing(complete, header.size[1], side=side)
            if not options.keep_damaged:
                raise ImageDamaged(damage)
        return Decoded(image, damage)

    def _plain(self) -> tuple[Image.Image, int]:
        """The image, and how many of its rows are in the file."""
        header = self._header
        _, height = header.size
        rows = self._content[header.pixels_at : header.pixels_at + header.row_bytes * height]
        used_bytes = (header.size[0] * header.bits + 7) // 8  # the last row needs no padding
        complete = (len(rows) + header.row_bytes - used_bytes) // header.row_bytes
        rows = rows.ljust(header.row_bytes * height, b"\0")
        mode = _PILLOW_MODES.get((header.bits, header.masks))
        if header.bits <= _LARGEST_PALETTE_BITS:
            raw_mode = "P" if header.bits == 8 else f"P;{header.bits}"
            return self._with_palette(self._unpacked("P", raw_mode, rows)), complete
        if mode is not None:
            return _without_empty_alpha(self._unpacked(*mode, rows)), complete
        return self._bit_fields(rows), complete

    def _unpacked(self, mode: str, raw_mode: str, rows: bytes) -> Image.Image:
        return Image.frombytes(
            mode, self.size, rows, "raw", raw_mode, self._header.row_bytes, self._direction()
        )

    def _direction(self) -> int:
        return 1 if self._header.is_top_down else -1

    def _with_palette(self, image: Image.Image) -> Image.Image:
        image.putpalette(self._header.palette.ljust(3 * 256, b"\0"))
        return image

    def _bit_fields(self, rows: bytes) -> Image.Image:
        *colors, alpha = self._header.masks
        channels = [self._channel(rows, mask) for mask in (*colors, *([alpha] if alpha else []))]
        return _without_empty_alpha(Image.merge("RGBA" if alpha else "RGB", channels))

    def _channel(self, rows: bytes, mask: int) -> Image.Image:
        """The bits of one mask, scaled to 8.

        Shifting a whole row as one number puts the bits of each pixel into one byte.
        """
        width, _ = self.size
        low, bits = _position(mask)
        shift = low + max(bits - 8, 0)
        highest = 2 ** min(bits, 8) - 1
        scaled = bytes(round((byte & highest) * 255 / (highest or 1)) for byte in range(256))
        pixel_bytes, row_bytes = self._header.bits // 8, self._header.row_bytes
        channel = bytearray()
        for start in range(0, len(rows), row_bytes):
            row = int.from_bytes(rows[start : start + row_bytes], "little") >> shift
            channel += row.to_bytes(row_bytes, "little")[: width * pixel_bytes : pixel_bytes]
        return Image.frombytes(
            "L", self.size, bytes(channel).translate(scaled), "raw", "L", 0, self._direction()
        )

    def _run_length(self) -> tuple[Image.Image, int]:
        """The image, and how many of its rows are in the file.

        Pixels that the codes skip are transparent, as in browsers.
        """
        runs = _Runs(self.size, is_four_bits=self._header.compression == bmp_header.RLE4)
        complete = runs.read(self._content, self._header.pixels_at)
        image = self._with_palette(self._unpacked_pixels("P", "P", runs.pixels))
        if all(runs.is_set):
            return image, complete
        colors = image.convert("RGB")
        colors.putalpha(self._unpacked_pixels("L", "L", runs.is_set))
        return colors, complete

    def _unpacked_pixels(self, mode: str, raw_mode: str, pixels: bytearray) -> Image.Image:
        return Image.frombytes(
            mode, self.size, bytes(pixels), "raw", raw_mode, 0, self._direction()
        )


class _Runs:
    """Decodes run-length data to one byte for each pixel ("Bitmap Compression", Windows GDI)."""

    def __init__(self, size: Size, *, is_four_bits: bool) -> None:
        self._width, self._height = size
        self._is_four_bits = is_four_bits
        self.pixels = bytearray(self._width * self._height)
        self.is_set = bytearray(self._width * self._height)
        """255 for each pixel that the data has set."""

    def read(self, data: bytes, position: int) -> int:
        """Decode to the end of the bitmap. Return how many rows there were."""
        x = y = 0
        while y < self._height:
            code = data[position : position + 2]
            position += 2
            if len(code) < 2:
                return y
            count, value = code
            if count:
                x = self._set(x, y, self._run(count, value))
            elif value == _END_OF_LINE:
                x, y = 0, y + 1
            elif value == _END_OF_BITMAP:
                return self._height
            elif value == _DELTA:
                delta = data[position : position + 2].ljust(2, b"\0")
                x, y, position = x + delta[0], y + delta[1], position + 2
            else:
                size = (value + 1) // 2 if self._is_four_bits else value
                x = self._set(x, y, self._literal(data[position : position + size], value))
                position += size + size % 2  # padded to whole words
        return self._height

    def _run(self, count: int, value: int) -> bytes:
        if not self._is_four_bits:
            return bytes([value]) * count
        return (bytes([value >> 4, value & 15]) * ((count + 1) // 2))[:count]

    def _literal(self, data: bytes, count: int) -> bytes:
        if not self._is_four_bits:
            return data
        return bytes(nibble for byte in data for nibble in (byte >> 4, byte & 15))[:count]

    def _set(self, x: int, y: int, values: bytes) -> int:
        """Write into row ``y``, but not beyond it. Return where the next pixel is."""
        fitting = values[: max(self._width - x, 0)]
        start = y * self._width + x
        self.pixels[start : start + len(fitting)] = fitting
        self.is_set[start : start + len(fitting)] = b"\xff" * len(fitting)
        return x + len(values)


def _without_empty_alpha(image: Image.Image) -> Image.Image:
    """Like browsers, show an image whose alpha is 0 everywhere: programs leave it unset."""
    if image.mode == "RGBA" and image.getchannel("A").getbbox() is None:
        return image.convert("RGB")
    return image


def _layout(header: BmpHeader) -> Layout:
    storage = _STORAGES.get(header.compression, f"compression {header.compression}")
    if header.is_os2:
        storage = _OS2_STORAGES.get(header.compression, storage)
    if any(_has_gaps(mask) for mask in header.masks):
        storage = "bit fields with gaps"
    if header.bits <= _LARGEST_PALETTE_BITS:
        return Layout("palette", f"{header.bits}-bit", storage)
    return Layout("RGB + alpha" if header.masks[3] else "RGB", f"{header.bits}-bit", storage)


def _position(mask: int) -> tuple[int, int]:
    """The lowest bit of a mask, and how many bits it has."""
    low = (mask & -mask).bit_length() - 1 if mask else 0
    return low, (mask >> low).bit_length()


def _has_gaps(mask: int) -> bool:
    low, bits = _position(mask)
    return mask != ((1 << bits) - 1) << low
