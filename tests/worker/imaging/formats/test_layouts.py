"""Every layout that is accepted is decoded right.

The files are written in ``layouts``, so that their pixels are known, or compared to libvips.
"""

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any

import pytest
import pyvips
from PIL import Image, ImageChops, ImageStat

from services.common.operations import FORMATS, Format
from services.worker.imaging.formats.layouts import SUPPORTED, Layout
from services.worker.imaging.limits import ImagingLimits
from services.worker.imaging.pipeline import process
from tests.worker.imaging.layouts.bmp_files import bmp_files
from tests.worker.imaging.layouts.chart import LayoutFile
from tests.worker.imaging.layouts.compressed_files import compressed_files
from tests.worker.imaging.layouts.png_files import png_files
from tests.worker.imaging.layouts.tiff_files import tiff_files

pytestmark = pytest.mark.xdist_group("layouts")  # writing the files takes 3 s

UNCHANGED = {"operations": [{"name": "resize", "width": 4000}], "output": {"format": "png"}}

EXACT = 2
"""Maximum difference of a sample of 255 for lossless files, because decoders round differently."""
LOSSLESS = {"png", "bmp", "gif", "tiff"}
LOSSY = 1.5
"""Maximum mean difference for files with lossy compression or another color space."""


@cache
def files() -> Mapping[tuple[Format, Layout], list[LayoutFile]]:
    found: dict[tuple[Format, Layout], list[LayoutFile]] = {}
    for file in (*png_files(), *bmp_files(), *tiff_files(), *compressed_files()):
        found.setdefault((file.image_format, file.layout), []).append(file)
    return found


CELLS = [(name, layout) for name in FORMATS for layout in sorted(SUPPORTED[name])]


@pytest.mark.parametrize(
    ("image_format", "layout"), CELLS, ids=[f"{name}: {layout}" for name, layout in CELLS]
)
def test_a_supported_layout_is_decoded_right(image_format: Format, layout: Layout) -> None:
    for file in files()[image_format, layout]:
        image = decoded(file.content)
        is_lossless = image_format in LOSSLESS and not {"JPEG", "YCbCr", "CIELAB"} & {*layout}
        if file.expected is not None:
            assert_alike(image, file.expected, file, exactly=is_lossless)
        if file.libvips_reads_it:
            assert_alike(image, by_libvips(file.content), file, exactly=is_lossless)


def test_no_file_has_another_layout() -> None:
    """Otherwise a file would prove a layout that the decoder does not take it for."""
    assert files().keys() == set(CELLS)


def decoded(content: bytes) -> Image.Image:
    return Image.open(BytesIO(process(content, UNCHANGED, ImagingLimits()).body)).convert("RGBA")


def by_libvips(content: bytes) -> Image.Image:
    image: Any = pyvips.Image.new_from_buffer(content, "").autorot().colourspace("srgb")
    image = image.cast("uchar")
    if image.bands < 3:
        gray = image[0]
        image = gray.bandjoin([gray, gray, *([image[1]] if image.bands == 2 else [])])
    if image.bands == 3:
        image = image.bandjoin(255)
    return Image.frombytes("RGBA", (image.width, image.height), image.write_to_memory())


def assert_alike(
    image: Image.Image, other: Image.Image, file: LayoutFile, *, exactly: bool
) -> None:
    name = f"{file.image_format}: {file.layout} ({file.variant})"
    assert image.size == other.size, name
    # Colors of transparent pixels make no difference.
    difference = ImageChops.difference(image.convert("RGBa"), other.convert("RGBa"))
    statistics = ImageStat.Stat(difference)
    if exactly:
        assert max(highest for _, highest in statistics.extrema) <= EXACT, name
    assert sum(statistics.mean) / len(statistics.mean) <= LOSSY, name
