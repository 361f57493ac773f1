"""Encoding the result: choosing its format and writing its bytes."""

from io import BytesIO
from typing import Any, Final

from PIL import Image
from PIL.ImageFile import ImageFile

from services.common.errors import ResultTooLarge
from services.common.operations import DEFAULT_QUALITY, Format
from services.common.operations.transparency import flatten
from services.worker.imaging.decode import PILLOW_NAMES
from services.worker.imaging.limits import ENCODER_MAX_PIXELS, ENCODER_MAX_SIDE

_LOSSY: Final = frozenset[Format]({"jpeg", "webp", "avif"})
_OPAQUE: Final = frozenset[Format]({"jpeg", "bmp"})
"""Formats without transparency, or whose transparency programs interpret differently."""

_SAVE_OPTIONS: Final[dict[Format, dict[str, Any]]] = {
    # Half the time of Pillow's default 6, for photographs that are at most 4 % larger.
    "png": {"compress_level": 4},
    # Every reader since TIFF 6.0 knows Deflate, which halves the size.
    "tiff": {"compression": "tiff_adobe_deflate"},
    # A third of the time of Pillow's default 6, for photographs that are at most 8 % larger. The
    # sandbox forbids threads.
    "avif": {"speed": 8, "max_threads": 1},
}


def default_format(image: Image.Image, source_format: Format) -> Format:
    """The source's format if it can hold the result. Otherwise JPEG for an opaque image from a
    lossy format, and PNG for any other."""
    if _can_hold(source_format, image):
        return source_format
    return "jpeg" if source_format in _LOSSY and not _has_alpha(image) else "png"


def encode(
    image: Image.Image, result_format: Format, *, quality: int | None, max_bytes: int
) -> bytes:
    """Encode the image without any metadata. Raises ``ResultTooLarge``."""
    _check_encoder_limits(image, result_format)
    if result_format in _OPAQUE:
        image = flatten(image)
    if isinstance(image, ImageFile):
        image = image.copy()  # a plain Image, because an ImageFile would write its metadata
    image.info.clear()
    options = dict(_SAVE_OPTIONS.get(result_format, {}))
    if result_format in DEFAULT_QUALITY:
        options["quality"] = quality or DEFAULT_QUALITY[result_format]
    file = BytesIO()
    image.save(file, PILLOW_NAMES[result_format], **options)
    if file.tell() > max_bytes:
        raise ResultTooLarge(
            f"The result would be a {result_format} file of {file.tell() / 1e6:.0f} MB. "
            f"The maximum is {max_bytes / 1e6:.0f} MB."
        )
    return file.getvalue()


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in {"LA", "RGBA"}


def _can_hold(result_format: Format, image: Image.Image) -> bool:
    if _has_alpha(image) and result_format in _OPAQUE:
        return False
    if result_format == "gif" and image.mode != "L":
        return False  # 256 colors are enough for gray images, but not for resampled color images
    return max(image.size) <= ENCODER_MAX_SIDE.get(
        result_format, max(image.size)
    ) and image.width * image.height <= ENCODER_MAX_PIXELS.get(
        result_format, image.width * image.height
    )


def _check_encoder_limits(image: Image.Image, result_format: Format) -> None:
    max_side = ENCODER_MAX_SIDE.get(result_format)
    if max_side is not None and max(image.size) > max_side:
        raise ResultTooLarge(
            f"The result would be {image.width} by {image.height} pixels. "
            f"The maximum for a side of a {result_format} file is {max_side}."
        )
    max_pixels = ENCODER_MAX_PIXELS.get(result_format)
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise ResultTooLarge(
            f"The result would be {image.width} by {image.height} pixels. "
            f"The maximum for {result_format} is {max_pixels / 1e6:g} megapixels."
        )
