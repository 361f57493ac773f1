"""Decoding an image: first its header, then its pixels, upright and in sRGB."""

import struct
import zlib
from io import BytesIO
from typing import Final

from PIL import Image, ImageFile

from services.common.errors import ImageDamaged, ImageTooComplex, ImageTooLarge
from services.common.operations import Format, Size
from services.worker.imaging.color import foreign_profile, to_srgb
from services.worker.imaging.jpeg_scans import has_more_scans_than
from services.worker.imaging.limits import JPEG_MAX_SCANS

PILLOW_NAMES: Final[dict[Format, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "avif": "AVIF",
    "gif": "GIF",
    "tiff": "TIFF",
    "bmp": "BMP",
}

DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for damaged files. ``MemoryError`` is not among them: it means that
the image is too large, not that it is damaged."""

_AVIF_HEADER_BYTES: Final = 4096

_ORIENTATION_TAG: Final = 0x0112

_TO_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation (CIPA DC-008, 4.6.4.A); 1 is upright."""

_SIDEWAYS: Final = frozenset({5, 6, 7, 8})


class OpenedImage:
    """An image whose header has been read. An animation counts as its first frame."""

    def __init__(self, content: bytes, source_format: Format, *, max_pixels: int) -> None:
        """Raises ``ImageTooLarge``, ``ImageTooComplex`` or ``ImageDamaged``."""
        self._image = _open(content, source_format, max_pixels)
        # Pillow's TIFF decoder applies the orientation itself.
        self._orientation = 1 if source_format == "tiff" else _orientation(self._image)
        self._profile = foreign_profile(self._image)

    @property
    def size(self) -> Size:
        """Width and height of the upright image, in pixels."""
        width, height = self._image.size
        return (height, width) if self._orientation in _SIDEWAYS else (width, height)

    def decode(self, *, gray: bool, at_least: Size) -> Image.Image:
        """Decode the pixels to an upright sRGB image of mode L, LA, RGB or RGBA without metadata.

        A JPEG decoder may skip the color if ``gray``, and decode to a smaller size that is still
        ``at_least`` this large. Raises ``ImageDamaged``. Call it only once.
        """
        width, height = at_least
        stored_size = (height, width) if self._orientation in _SIDEWAYS else (width, height)
        # Luma equals gray only in sRGB. Other color spaces must be converted first.
        mode = "L" if gray and self._profile is None else None
        try:
            drafted = self._image.draft(mode, stored_size)
            self._image.load()
            image = to_srgb(_without_padding(self._image, drafted), self._profile)
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The image is damaged or truncated.") from damaged
        if self._orientation in _TO_UPRIGHT:
            image = image.transpose(_TO_UPRIGHT[self._orientation])
        return image


def _open(content: bytes, source_format: Format, max_pixels: int) -> ImageFile.ImageFile:
    try:
        image = Image.open(BytesIO(content), formats=[PILLOW_NAMES[source_format]])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise _too_large(max_pixels) from bomb
    except DECODER_ERRORS as damaged:
        if source_format == "avif" and _avif_pixels(content) > max_pixels:
            raise _too_large(max_pixels) from damaged
        raise ImageDamaged(f"The header of the {source_format} file is damaged.") from damaged
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(max_pixels)
    if source_format == "jpeg" and has_more_scans_than(content, JPEG_MAX_SCANS):
        raise ImageTooComplex(f"The JPEG has more than {JPEG_MAX_SCANS} scans.")
    return image


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


def _avif_pixels(content: bytes) -> int:
    """The pixels by the file's first image spatial extents (ISO/IEC 23008-12, 6.5.3), or 0.

    libavif reports images above its limit of 16,384 by 16,384 only as unreadable.
    """
    box = content.find(b"ispe", 0, _AVIF_HEADER_BYTES)
    if box < 0 or len(content) < box + 16:
        return 0
    width, height = struct.unpack_from(">II", content, box + 8)
    return int(width) * int(height)


def _too_large(max_pixels: int) -> ImageTooLarge:
    return ImageTooLarge(f"The image has more than {max_pixels / 1e6:g} megapixels.")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except DECODER_ERRORS:
        return 1  # like browsers, which ignore damaged metadata
    return orientation if orientation in _TO_UPRIGHT else 1
