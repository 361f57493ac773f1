"""Small images with the features of all supported formats, and the largest images allowed."""

from collections.abc import Iterator
from io import BytesIO
from math import isqrt
from typing import Any, Final

from PIL import Image

from services.common.operations import FORMATS, Format
from services.worker.imaging.limits import ENCODER_MAX_PIXELS, ImagingLimits
from tests.worker.imaging.sample_images import (
    MODES,
    PHOTOGRAPHS,
    adobe_rgb,
    exif,
    file_of,
    gradient,
    gray_profile,
    opened,
)

WITH_METADATA: Final[tuple[Format, ...]] = ("jpeg", "png", "webp", "avif", "tiff")
WITH_FRAMES: Final[tuple[Format, ...]] = ("png", "webp", "avif", "gif", "tiff")
TIFF_COMPRESSIONS: Final = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")


def corpus() -> list[bytes]:
    return [*_every_mode(), *_photographs(), *_features()]


def _every_mode() -> Iterator[bytes]:
    for file_format in FORMATS:
        for mode in MODES[file_format]:
            yield file_of(gradient(mode), file_format)


def _photographs() -> Iterator[bytes]:
    for path in PHOTOGRAPHS:
        small = opened(path.read_bytes()).convert("RGB").resize((160, 120))
        for file_format in FORMATS:
            yield file_of(small, file_format)


def _features() -> Iterator[bytes]:
    image = gradient(size=(100, 70))
    metadata = {"exif": exif(6), "icc_profile": adobe_rgb(), "xmp": b"<x:xmpmeta/>"}
    yield file_of(image, "jpeg", progressive=True)
    yield file_of(image, "jpeg", subsampling=0, optimize=True, comment=b"a comment")
    yield file_of(image, "jpeg", restart_marker_rows=1)
    yield file_of(gradient("L"), "png", icc_profile=gray_profile(1.8))
    yield file_of(image, "png", transparency=(1, 2, 3))
    yield file_of(image, "webp", lossless=True)
    yield file_of(gradient("1"), "tiff", compression="group4")
    yield file_of(gradient("1"), "tiff", compression="group3")
    yield file_of(image, "tiff", big_tiff=True)
    for compression in TIFF_COMPRESSIONS:
        yield file_of(image, "tiff", compression=compression)
    for file_format in WITH_METADATA:
        yield file_of(image, file_format, **metadata)
    for file_format in WITH_FRAMES:
        frames = [image.rotate(degrees) for degrees in (90, 180)]
        yield file_of(image, file_format, save_all=True, append_images=frames)
    several = BytesIO()
    image.save(several, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    yield several.getvalue()


LARGEST: Final[dict[Format, str]] = {
    "jpeg": "CMYK",
    "png": "RGBA",
    "gif": "P",
    "tiff": "CMYK",
    "bmp": "1",
}
"""The mode that takes the most memory, for formats that can hold 50 megapixels and encode fast."""


def largest() -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Images with the maximum number of pixels, each with the output to request."""
    side = isqrt(ImagingLimits().max_pixels)
    for file_format, mode in LARGEST.items():
        options = {"compression": "tiff_lzw"} if file_format == "tiff" else {}
        yield file_of(Image.new(mode, (side, side)), file_format, **options), None
    for result_format, pixels in ENCODER_MAX_PIXELS.items():
        side = isqrt(pixels)
        yield file_of(Image.new("RGB", (side, side)), "jpeg"), {"format": result_format}
