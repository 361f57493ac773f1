"""What an image goes through: decode once, operations in order, encode once.

This is the work that runs inside an imaging child; ``inside`` confines the child and calls it.
"""

import importlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import AvifImagePlugin, Image
from pydantic import ValidationError

from services.common.errors import OperationInvalid, ResultTooLarge
from services.common.operations import (
    CONTENT_TYPES,
    FORMATS,
    Convert,
    Grayscale,
    ImageOperation,
    Recipe,
    Resize,
    Size,
    result_format,
)
from services.worker.imaging.decode import OpenedImage
from services.worker.imaging.encode import default_format, encode
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.sniff import HEAD_BYTES, sniff
from services.worker.imaging.work import ResultImage, Work

KEPT_FOR_RESAMPLING = 2
"""A JPEG decoder that shrinks has to leave at least this times the pixels a side, or the cheap
shrinking shows in the result; the same factor as in Pillow's own ``thumbnail``."""


PILLOW_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP")
"""Those of the accepted formats, and of JPEGs with several images. When one were missing, Pillow
would load all its forty, PostScript's among them."""


def prepare(limits: ImagingLimits) -> Work:
    """Load and set up everything, so that afterwards no file or thread is needed any more."""
    for plugin in PILLOW_PLUGINS:
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = limits.max_pixels

    def work(
        content: bytes,
        operations: Sequence[Mapping[str, Any]],
        output: Mapping[str, Any] | None,
    ) -> ResultImage:
        return process(content, operations, output, limits)

    _warm_up(work)
    return work


def process(
    content: bytes,
    operations: Sequence[Mapping[str, Any]],
    output: Mapping[str, Any] | None,
    limits: ImagingLimits,
) -> ResultImage:
    """The result image. Raises ``ImageError``, and ``MemoryError`` at the memory limit."""
    recipe = _recipe(operations, output)
    with warnings.catch_warnings():
        # Pillow warns of oddities in metadata, which is thrown away; only bombs matter.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return _process(content, recipe, limits)


def _process(content: bytes, recipe: Recipe, limits: ImagingLimits) -> ResultImage:
    source_format = sniff(content[:HEAD_BYTES])
    opened = OpenedImage(content, source_format, max_pixels=limits.max_pixels)
    sizes = _sizes(recipe.operations, opened.size, limits)
    image = opened.decode(
        gray=isinstance(recipe.operations[0], Grayscale),
        at_least=_pixels_needed(recipe.operations, opened.size),
    )
    del opened  # and with it the image as it was stored
    for operation, size in zip(recipe.operations, sizes, strict=True):
        image = operation.apply(image, size)
    asked = result_format(recipe.operations, recipe.output)
    written_as = asked or default_format(image, source_format)
    return ResultImage(
        body=encode(
            image,
            written_as,
            quality=recipe.output.quality if recipe.output else None,
            max_bytes=limits.max_result_bytes,
        ),
        content_type=CONTENT_TYPES[written_as],
        width=image.width,
        height=image.height,
    )


def _recipe(operations: Sequence[Mapping[str, Any]], output: Mapping[str, Any] | None) -> Recipe:
    try:
        return Recipe.model_validate({"operations": operations, "output": output})
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise OperationInvalid(f"{field}: {first['msg']}.") from invalid


def _sizes(operations: Sequence[ImageOperation], size: Size, limits: ImagingLimits) -> list[Size]:
    """The size after each operation. Raises ``ResultTooLarge``."""
    sizes = []
    for operation in operations:
        size = operation.result_size(size)
        width, height = size
        if width * height > limits.max_result_pixels:
            raise ResultTooLarge(
                f"After {operation.name} the image would be {width} by {height} pixels; "
                f"the most is {limits.max_result_pixels / 1e6:g} megapixels."
            )
        sizes.append(size)
    return sizes


def _pixels_needed(operations: Sequence[ImageOperation], size: Size) -> Size:
    """How many of an image's pixels matter: fewer than all when it is made smaller first."""
    width, height = size
    for operation in operations:
        if isinstance(operation, Resize):
            new_width, new_height = operation.result_size(size)
            scale = KEPT_FOR_RESAMPLING * max(new_width / width, new_height / height)
            return math.ceil(width * scale), math.ceil(height * scale)
        if not isinstance(operation, Grayscale | Convert):
            break
    return size


def _warm_up(work: Work) -> None:
    """Read and write every format once, for what Pillow and Python load on first use."""
    for target in FORMATS:
        small = encode(Image.new("RGBA", (8, 8)), target, quality=None, max_bytes=1_000_000)
        work(small, [{"name": "grayscale"}, {"name": "resize", "width": 4}], None)
