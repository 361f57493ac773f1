"""JPEG: decoding at a reduced size, and finding out what is missing.

Pillow gets the JPEG without its metadata. libjpeg replaces missing data by gray without an error.
To notice that, a JPEG of one scan is decoded without the marker of its end and with a few zeros in
its place: if data is missing, libjpeg waits for more.
"""

import struct
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, JpegImagePlugin

from services.common.errors import ImageDamaged
from services.common.operations import Size
from services.worker.imaging.formats.exif import orientation_in
from services.worker.imaging.formats.jpeg_markers import (
    END_OF_IMAGE,
    LOSSLESS,
    Frame,
    JpegStructure,
    MalformedJpeg,
    read_structure,
)
from services.worker.imaging.formats.layouts import Layout, require_supported
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    Decoded,
    DecodeOptions,
    SourceImage,
    rows_missing,
)
from services.worker.imaging.limits import JPEG_MAX_SCANS

_PROCESSES: Final = {
    0: "sequential",
    1: "sequential",
    2: "progressive",
    3: "lossless",
    9: "arithmetic",
    10: "arithmetic progressive",
}
"""By the number of the frame's marker (ITU-T T.81, table B.1)."""
_HUFFMAN: Final = frozenset({0, 1, 3})

_SCALES: Final = (8, 4, 2, 1)

_LOOKAHEAD: Final = bytes(8)
"""libjpeg's Huffman decoder reads up to 8 bytes ahead."""
_FILLING: Final = b"\0\xff"
"""What may follow the last data of a file that was cut off: room for the rest, or half a marker."""
_OTHER_DATA: Final = b"\x5a\xa5\x3c" * 1000
"""Stands in for missing data, to see which pixels it changes."""

_UPSAMPLED_ROWS: Final = 2
"""How many rows above a block it changes, when the color is interpolated."""

_YCCK: Final = 2
"""Adobe's number for the transform."""

_COEFFICIENT_BYTES: Final = 2 * 64
"""Per block. libjpeg keeps all blocks of an image in memory until its last scan."""


class JpegImage(SourceImage):
    """The first image of a JPEG. Others in the file are previews, gain maps or depth maps."""

    def __init__(self, content: bytes) -> None:
        try:
            self._structure = read_structure(content, max_scans=JPEG_MAX_SCANS)
        except MalformedJpeg as malformed:
            raise ImageDamaged("The header of the JPEG is damaged.") from malformed
        frame = self._structure.frame
        self._color = _color(self._structure)
        process = _PROCESSES.get(frame.process, f"process {frame.process}")
        require_supported("jpeg", Layout(self._color, f"{frame.precision}-bit", process))
        self._content = _with_height(content, frame)
        self.size = frame.width, frame.height
        self.orientation = orientation_in(self._structure.exif)
        self.profile = self._structure.profile
        self.scans = len(self._structure.scans)

    def buffered_bytes(self) -> int:
        is_buffered = self.scans > 1
        return self._structure.frame.blocks * _COEFFICIENT_BYTES if is_buffered else 0

    def decoded_size(self, at_least: Size) -> Size:
        width, height = self.size
        scale = self._scale(at_least)
        return -(-width // scale), -(-height // scale)

    def _scale(self, at_least: Size) -> int:
        if self._structure.frame.process == LOSSLESS:
            return 1
        possible = min(self.size[0] // at_least[0], self.size[1] // at_least[1])
        return next(scale for scale in _SCALES if scale <= max(possible, 1))

    def decode(self, options: DecodeOptions) -> Decoded:
        try:
            return self._decoded_whole(options) or self._decoded_in_part(options)
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The JPEG is damaged.") from damaged

    def _decoded_whole(self, options: DecodeOptions) -> Decoded | None:
        """The image if nothing is missing, otherwise None."""
        structure = self._structure
        if structure.end is None or self._missing_restarts():
            return None
        is_single_scan = structure.frame.process in _HUFFMAN and self.scans == 1
        try:
            return Decoded(self._loaded(_LOOKAHEAD if is_single_scan else END_OF_IMAGE, options))
        except DECODER_ERRORS:
            return None

    def _decoded_in_part(self, options: DecodeOptions) -> Decoded:
        """What libjpeg makes of a damaged image.

        Like browsers, accept an image of which only the lowest row of blocks is incomplete.
        """
        image = self._loaded(END_OF_IMAGE, options)
        other = self._loaded(_OTHER_DATA + END_OF_IMAGE, options)
        changed = ImageChops.difference(image, other).getbbox(alpha_only=False)
        height, scale = self.size[1], self._scale(options.at_least)
        complete = min(changed[1] * scale, height) if changed else height
        damage = self._damage(complete)
        if damage is None:
            return Decoded(image)
        unit_height = self._structure.frame.unit[1]
        is_small = complete + _UPSAMPLED_ROWS * scale >= (height - 1) // unit_height * unit_height
        is_acceptable = is_small and self._has_all_scans() and not self._missing_restarts()
        if not options.keep_damaged and not is_acceptable:
            raise ImageDamaged(damage)
        return Decoded(image, damage)

    def _damage(self, complete: int) -> str | None:
        """What is missing, if rows from ``complete`` on change with the missing data."""
        if not self._has_all_scans():
            return (
                f"The file is damaged: it ends in scan {self.scans}, and the details are missing."
            )
        if restarts := self._missing_restarts():
            return f"The file is damaged: {restarts} of its parts are missing or out of order."
        if complete < self.size[1]:
            return rows_missing(complete, self.size[1])
        return None

    def _missing_restarts(self) -> int:
        return self._structure.missing_restarts(self._content)

    def _has_all_scans(self) -> bool:
        """A file that ends properly has as many scans as its author wanted."""
        return self._structure.end is not None or self._structure.has_all_scans()

    def _loaded(self, end: bytes, options: DecodeOptions) -> Image.Image:
        """Decode the data with another end. Raises one of ``DECODER_ERRORS``."""
        content = self._without_metadata() + end
        image = JpegImagePlugin.JpegImageFile(BytesIO(content))
        image.decodermaxblock = len(content)  # decoding arithmetic codes cannot pause
        drafted = None
        if self._structure.frame.process != LOSSLESS:
            drafted = image.draft("L" if options.gray else None, options.at_least)
        image.load()
        whole = _without_padding(image, drafted)
        # libjpeg and Pillow leave it open whether ink is 0 or 255. Adobe's marker tells.
        has_adobe = self._structure.adobe_transform is not None
        return whole if image.mode != "CMYK" or has_adobe else ImageChops.invert(whole)

    def _without_metadata(self) -> bytes:
        """The JPEG before its end."""
        end = self._structure.end
        if end is None:
            end = len(self._content.rstrip(_FILLING))
        parts, position = [], 0
        for start, stop in self._structure.metadata:
            parts.append(self._content[position:start])
            position = stop
        parts.append(self._content[position:end])
        return b"".join(parts)


def _with_height(content: bytes, frame: Frame) -> bytes:
    """The JPEG with its height in the frame header, where libjpeg needs it. It may come later."""
    start = frame.offset + 1
    height = struct.pack(">H", frame.height)
    if content[start : start + 2] == height:
        return content
    return content[:start] + height + content[start + 2 :]


def _color(structure: JpegStructure) -> str:
    """What the components are, as libjpeg decides (``default_decompress_parms`` in jdapimin.c)."""
    transform = structure.adobe_transform
    identifiers = bytes(component.identifier for component in structure.frame.components)
    match len(identifiers):
        case 1:
            return "gray"
        case 3:
            is_rgb = transform == 0 or (transform is None and identifiers == b"RGB")
            return "RGB" if is_rgb else "YCbCr"
        case 4:
            return "YCCK" if transform == _YCCK else "CMYK"
        case count:
            return f"{count} channels"


def _without_padding(
    image: Image.Image, drafted: tuple[str, tuple[float, float, float, float]] | None
) -> Image.Image:
    """Remove the partly filled last column and row, which would shift the result.

    They appear when a JPEG is decoded at a half, a quarter or an eighth of a size that this factor
    does not divide.
    """
    if drafted is None:
        return image
    _, region = drafted
    _, _, width, height = region
    if width == image.width and height == image.height:
        return image
    whole = (max(1, round(width)), max(1, round(height)))
    return image.resize(whole, Image.Resampling.BICUBIC, region)
