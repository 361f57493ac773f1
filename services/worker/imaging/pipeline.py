"""The handler of the imaging children: decode once, apply the operations in order, encode once."""

import importlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import AvifImagePlugin, Image
from pydantic import ValidationError

from services.common.errors import ImageTooComplex, OperationInvalid, ResultTooLarge
from services.common.operations import (
    CONTENT_TYPES,
    FORMATS,
    Convert,
    Grayscale,
    ImageOperation,
    Recipe,
    Resize,
    Rotate,
    Size,
    computed_pixels,
    result_format,
)
from services.worker.imaging.decode import OpenedImage
from services.worker.imaging.encode import default_format, encode
from services.worker.imaging.format_detection import HEAD_BYTES, detect_format
from services.worker.imaging.handler import ImageHandler, ResultImage
from services.worker.imaging.limits import ImagingLimits

RESAMPLING_MARGIN = 2
"""A JPEG may be decoded to a smaller size, but each side must be at least this many times the
target's, or the coarse scaling becomes visible. Pillow's ``thumbnail`` uses the same factor."""

PILLOW_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP")
"""The plugins for the supported formats. If one were missing, Pillow would load all forty when it
encodes, including the one for PostScript."""


def load_handler(limits: ImagingLimits) -> ImageHandler:
    """Load everything in advance, because the handler can neither open files nor start threads."""
    for plugin in PILLOW_PLUGINS:
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1

    def handle(content: bytes, recipe: Mapping[str, Any]) -> ResultImage:
        return process(content, recipe, limits)

    _warm_up(handle)
    return handle


def process(content: bytes, recipe: Mapping[str, Any], limits: ImagingLimits) -> ResultImage:
    """Return the result image. Raises ``ImageError``, or ``MemoryError`` at the memory limit."""
    parsed = _parsed(recipe)
    with warnings.catch_warnings():
        # Pillow's warnings are about metadata, which the result does not contain.
        warnings.simplefilter("ignore")
        return _process(content, parsed, limits)


def _process(content: bytes, recipe: Recipe, limits: ImagingLimits) -> ResultImage:
    source_format = detect_format(content[:HEAD_BYTES])
    opened = OpenedImage(content, source_format, page=recipe.page, limits=limits)
    at_least = _min_decode_size(recipe.operations, opened)
    opened.check_limits(at_least)
    sizes = _sizes(recipe.operations, opened.size, opened.decoded_size(at_least), limits)
    image, warning = opened.decode(
        gray=isinstance(recipe.operations[0], Grayscale),
        at_least=at_least,
        keep_damaged=recipe.damaged == "keep",
    )
    del opened  # frees the stored image
    for operation, size in zip(recipe.operations, sizes, strict=True):
        image = operation.apply(image, size)
    requested = result_format(recipe.operations, recipe.output)
    encoded_format = requested or default_format(image, source_format)
    return ResultImage(
        body=encode(
            image,
            encoded_format,
            quality=recipe.output.quality if recipe.output else None,
            max_bytes=limits.max_result_bytes,
        ),
        content_type=CONTENT_TYPES[encoded_format],
        width=image.width,
        height=image.height,
        warnings=(warning,) if warning else (),
    )


def _parsed(recipe: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(recipe)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise OperationInvalid(f"{field}: {first['msg']}.") from invalid


def _sizes(
    operations: Sequence[ImageOperation], size: Size, decoded: Size, limits: ImagingLimits
) -> list[Size]:
    """The size after each operation. Raises ``ResultTooLarge`` or ``ImageTooComplex``.

    Until the first resize, operations work on the image as decoded, which may be smaller.
    """
    sizes = []
    for operation in operations:
        size = operation.result_size(size)
        decoded = size if isinstance(operation, Resize) else operation.result_size(decoded)
        width, height = decoded
        if width * height > limits.max_result_pixels:
            raise ResultTooLarge(
                f"After {operation.name} the image would be {width} by {height} pixels. "
                f"The maximum is {limits.max_result_pixels / 1e6:g} megapixels."
            )
        sizes.append(decoded)
    computed = computed_pixels(operations, sizes)
    if computed > limits.max_computed_pixels:
        raise ImageTooComplex(
            f"The operations would compute {computed / 1e6:.0f} megapixels in all. "
            f"The maximum is {limits.max_computed_pixels / 1e6:g}."
        )
    return sizes


def _min_decode_size(operations: Sequence[ImageOperation], opened: OpenedImage) -> Size:
    """The smallest size to decode to. It is smaller than the image's if it is resized early."""
    width, height = opened.size
    for margin in (RESAMPLING_MARGIN, 1):
        scale = min(margin * _early_scale(operations, opened.size), 1)
        at_least = math.ceil(width * scale), math.ceil(height * scale)
        if opened.fits(at_least):
            break
    return at_least


def _early_scale(operations: Sequence[ImageOperation], size: Size) -> float:
    """By how much the first resize scales the image, if nothing before it depends on its size."""
    for operation in operations:
        width, height = size
        if isinstance(operation, Resize):
            new_width, new_height = operation.result_size(size)
            return max(new_width / width, new_height / height)
        if not isinstance(operation, Grayscale | Convert | Rotate):
            break
        size = operation.result_size(size)
    return 1


def _warm_up(handle: ImageHandler) -> None:
    """Decode and encode every format once, because Pillow and Python load modules on first use."""
    for target in FORMATS:
        small = encode(Image.new("RGBA", (8, 8)), target, quality=None, max_bytes=1_000_000)
        handle(small, {"operations": [{"name": "grayscale"}, {"name": "resize", "width": 4}]})
