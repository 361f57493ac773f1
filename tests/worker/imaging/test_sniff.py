"""What a file is taken for, by its content alone."""

from io import BytesIO
from pathlib import Path

import pytest

from services.common.errors import ImageFormatNotSupported, NotAnImage
from services.common.operations import FORMATS, Format
from services.worker.imaging.sniff import HEAD_BYTES, sniff
from tests.worker.imaging.sample_images import MODES, file_of, gradient


@pytest.mark.parametrize(
    ("file_format", "mode"), [(name, mode) for name in FORMATS for mode in MODES[name]]
)
def test_accepted_formats_are_told_by_their_content(file_format: Format, mode: str) -> None:
    assert sniff(file_of(gradient(mode), file_format)[:HEAD_BYTES]) == file_format


def test_a_big_tiff_is_a_tiff() -> None:
    assert sniff(file_of(gradient(), "tiff", big_tiff=True)[:HEAD_BYTES]) == "tiff"


@pytest.mark.parametrize("name", ["ICO", "JPEG2000", "PPM", "DDS", "EPS", "PDF", "ICNS"])
def test_images_of_other_formats_are_refused_as_such(name: str) -> None:
    file = BytesIO()
    gradient(size=(64, 64)).save(file, name)
    with pytest.raises(ImageFormatNotSupported, match="accepted are JPEG, PNG"):
        sniff(file.getvalue()[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a drawing -->\n<svg/>', "SVG"),
    ],
)
def test_formats_that_pillow_cannot_write_are_refused_by_name(head: bytes, name: str) -> None:
    with pytest.raises(ImageFormatNotSupported, match=name):
        sniff(head)


def test_an_avif_in_a_general_container_is_accepted() -> None:
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(20)) == "avif"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b"\n  <html>", "HTML page"),
        (b'{"error": "no such image"}', "not an image"),
        (b"BMW is a maker of cars and motorcycles, and no image", "not an image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not an image"),
        (b"<?xml version='1.0'?><feed/>", "not an image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "not an image"),
        (b"\xff\xd8", "not an image"),
        (bytes(512), "not an image"),
    ],
)
def test_everything_else_is_not_an_image(content: bytes, sentence: str) -> None:
    with pytest.raises(NotAnImage, match=sentence):
        sniff(content)


def test_the_photographs_table_is_not_an_image() -> None:
    table = Path(__file__).parents[3] / "local" / "samples" / "README.md"
    with pytest.raises(NotAnImage):
        sniff(table.read_bytes()[:HEAD_BYTES])
