"""Encoding the result: choosing its format and writing its bytes."""

from io import BytesIO
from typing import Any, Final

from PIL import Image
from PIL.ImageFile import ImageFile

from services.common.errors import ResultTooLarge
from services.common.operations import DEFAULT_QUALITY, Format
from services.common.operations.transparency import flatten
from services.worker.imaging.limits import ENCODER_MAX_PIXELS, ENCODER_MAX_SIDE

PILLOW_NAMES: Final[dict[Format, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "avif": "AVIF",
    "gif": "GIF",
    "tiff": "TIFF",
    "bmp": "BMP",
}

_LOSSY: Final = frozenset[Format]({"jpeg", "webp", "avif"})
_OPAQUE: Final = frozenset[Format]({"jpeg", "bmp"})
"""Formats without transparency, or whose transparency programs interpret differently."""

_TRANSPARENT_COLOR: Final = 255
"""The last of a GIF's 256 colors."""
_OPAQUE_FROM: Final = 128
"""A GIF has pixels that are transparent or opaque: those with at least this alpha, of 255."""

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
    options = dict(_SAVE_OPTIONS.get(result_format, {}))
    if result_format in DEFAULT_QUALITY:
        options["quality"] = quality or DEFAULT_QUALITY[result_format]
    if result_format in _OPAQUE:
        image = flatten(image)
    elif result_format == "gif" and _has_alpha(image):
        image = _with_transparent_color(image)
        options["transparency"] = _TRANSPARENT_COLOR
    if isinstance(image, ImageFile):
        image = image.copy()  # a plain Image, because an ImageFile would write its metadata
    image.info.clear()
    file = BytesIO()
    image.save(file, PILLOW_NAMES[result_format], **options)
    if file.tell() > max_bytes:
        raise ResultTooLarge(
            f"The result would be a {result_format} file of {file.tell() / 1e6:.0f} MB. "
            f"The maximum is {max_bytes / 1e6:.0f} MB."
        )
    return file.getvalue()


def _with_transparent_color(image: Image.Image) -> Image.Image:
    """A palette image in which one color is transparent. Other pixels are blended onto the
    background."""
    colors = flatten(image).convert("RGB").quantize(_TRANSPARENT_COLOR)
    is_clear = image.getchannel("A").point([255 * (alpha < _OPAQUE_FROM) for alpha in range(256)])
    colors.paste(_TRANSPARENT_COLOR, mask=is_clear)
    return colors


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
