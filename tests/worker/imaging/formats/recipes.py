"""Processing a file of the tests to a PNG of the same size."""

from io import BytesIO
from typing import Any, Final

from PIL import Image, ImageChops, ImageStat

from services.worker.imaging.handler import ResultImage
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.pipeline import process

UNCHANGED: Final = {"operations": [{"name": "resize", "width": 4000}], "output": {"format": "png"}}


def result_of(content: bytes, **members: Any) -> ResultImage:
    """``members`` are those of the recipe."""
    return process(content, {**UNCHANGED, **members}, ImagingLimits())


def decoded(content: bytes, **members: Any) -> Image.Image:
    """In mode RGBA."""
    return Image.open(BytesIO(result_of(content, **members).body)).convert("RGBA")


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Of the samples, from 0 to 255. Colors of transparent pixels make no difference."""
    means = ImageStat.Stat(ImageChops.difference(one.convert("RGBa"), other.convert("RGBa"))).mean
    return sum(means) / len(means)
