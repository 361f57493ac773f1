"""TIFFs of several pages, and camera raw."""

import pytest
from PIL import Image, TiffImagePlugin

from services.common.errors import ImageFormatNotSupported, PageNotFound
from tests.worker.imaging.formats.recipes import decoded
from tests.worker.imaging.sample_images import file_of, gradient

SUBFILE_TYPE = 254
PHOTOMETRIC = 262
DNG_VERSION = 50706


def pages() -> bytes:
    """A thumbnail, then a red and a blue page."""
    thumbnail = gradient(size=(8, 8))
    thumbnail.encoderinfo = {"tiffinfo": {SUBFILE_TYPE: 1}}
    red, blue = (Image.new("RGB", (16, 16), color) for color in ("red", "blue"))
    for page in (red, blue):
        page.encoderinfo = {"tiffinfo": {SUBFILE_TYPE: 0}}
    return file_of(
        thumbnail, "tiff", save_all=True, append_images=[red, blue], tiffinfo={SUBFILE_TYPE: 1}
    )


def test_a_thumbnail_is_not_a_page() -> None:
    assert decoded(pages()).getpixel((8, 8)) == (255, 0, 0, 255)
    assert decoded(pages(), page=2).getpixel((8, 8)) == (0, 0, 255, 255)
    with pytest.raises(PageNotFound, match="has 2 pages"):
        decoded(pages(), page=3)


@pytest.mark.parametrize("file_field", ["DNG version", "color filter array"])
def test_camera_raw_is_named_and_its_preview_is_not_used(file_field: str) -> None:
    tiff = gradient("L")
    fields = TiffImagePlugin.ImageFileDirectory_v2()
    if file_field == "DNG version":
        fields[DNG_VERSION] = b"\1\4\0\0"
    content = file_of(tiff, "tiff", tiffinfo=fields)
    if file_field != "DNG version":
        entry = content.index(PHOTOMETRIC.to_bytes(2, "little") + b"\3\0\1\0\0\0") + 8
        content = content[:entry] + (32803).to_bytes(2, "little") + content[entry + 2 :]
    with pytest.raises(ImageFormatNotSupported, match="camera raw"):
        decoded(content)
