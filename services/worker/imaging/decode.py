"""Decoding an image: first its header, then its pixels, upright and in sRGB."""

from typing import Final, NamedTuple

from PIL import Image

from services.common.errors import ImageDamaged, ImageTooComplex, ImageTooLarge, PageNotFound
from services.common.operations import Format, Size
from services.worker.imaging.color import foreign_profile, to_srgb
from services.worker.imaging.formats.avif import AvifImage
from services.worker.imaging.formats.bmp import BmpImage
from services.worker.imaging.formats.gif import GifImage
from services.worker.imaging.formats.jpeg import JpegImage
from services.worker.imaging.formats.png import PngImage
from services.worker.imaging.formats.source_image import (
    DECODER_ERRORS,
    DecodeOptions,
    SourceImage,
    too_large,
)
from services.worker.imaging.formats.tiff import TiffImage
from services.worker.imaging.formats.webp import WebPImage
from services.worker.imaging.limits import BUFFER_SHARE, JPEG_MAX_SCANS, ImagingLimits

Image.MAX_IMAGE_PIXELS = None  # `OpenedImage` has its own limit

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


class Upright(NamedTuple):
    """An upright sRGB image of mode L, LA, RGB or RGBA without metadata, and what it lacks."""

    image: Image.Image
    warning: str | None


class OpenedImage:
    """One page of a file, whose header has been read."""

    def __init__(
        self, content: bytes, source_format: Format, *, page: int, limits: ImagingLimits
    ) -> None:
        """Raises ``ImageError``."""
        self._source = _read_header(content, source_format, page, limits.max_pixels)
        self._limits = limits
        self._profile = foreign_profile(self._source.profile)

    @property
    def size(self) -> Size:
        """Width and height of the upright image, in pixels."""
        return self._turned(self._source.size)

    def check_limits(self, at_least: Size) -> None:
        """Check what decoding to at least this size takes. Raises ``ImageError``."""
        if not self.fits(at_least):
            raise too_large(self._limits.max_pixels)
        self._check_complexity()

    def fits(self, at_least: Size) -> bool:
        """Whether the image, decoded to at least this size, has no more pixels than allowed."""
        width, height = self.decoded_size(at_least)
        return width * height <= self._limits.max_pixels

    def decoded_size(self, at_least: Size) -> Size:
        """The upright size to which ``decode`` decodes."""
        return self._turned(self._source.decoded_size(self._turned(at_least)))

    def decode(self, *, gray: bool, at_least: Size, keep_damaged: bool) -> Upright:
        """Decode the pixels. Call it only once.

        A decoder may skip the color if ``gray``, and decode to a smaller size that is still
        ``at_least`` this large. Raises ``ImageError``.
        """
        options = DecodeOptions(
            at_least=self._turned(at_least),
            # Luma equals gray only in sRGB. Other color spaces must be converted first.
            gray=gray and self._profile is None,
            keep_damaged=keep_damaged,
        )
        try:
            decoded = self._source.decode(options)
            image = to_srgb(decoded.image, self._profile)
        except DECODER_ERRORS as damaged:
            raise ImageDamaged("The image is damaged or cut off.") from damaged
        if self._source.orientation in _TO_UPRIGHT:
            image = image.transpose(_TO_UPRIGHT[self._source.orientation])
        return Upright(image, decoded.warning)

    def _turned(self, size: Size) -> Size:
        """From the size as stored to the upright one, or back."""
        width, height = size
        return (height, width) if self._source.orientation in _SIDEWAYS else (width, height)

    def _check_complexity(self) -> None:
        width, height = self._source.size
        if self._source.scans > JPEG_MAX_SCANS:
            raise ImageTooComplex(f"The JPEG has more than {JPEG_MAX_SCANS} scans.")
        if self._source.scans * width * height > JPEG_MAX_SCANS * self._limits.max_pixels:
            raise ImageTooComplex("The JPEG has too many scans for its size.")
        if self._source.buffered_bytes() > BUFFER_SHARE * self._limits.memory_bytes:
            raise ImageTooLarge(
                "The JPEG has several scans and more pixels than fit into memory. "
                "Send it as a baseline JPEG."
            )


def _read_header(content: bytes, source_format: Format, page: int, max_pixels: int) -> SourceImage:
    match source_format:
        case "png":
            return PngImage(content, page=page)
        case "webp":
            return WebPImage(content, page=page)
        case "avif":
            return AvifImage(content, page=page, max_pixels=max_pixels)
        case "gif":
            return GifImage(content, page=page)
        case "tiff":
            return TiffImage(content, page=page)
    if page > 1:
        raise PageNotFound(f"A {source_format.upper()} has one page.")
    return JpegImage(content) if source_format == "jpeg" else BmpImage(content)
