"""Detecting a file's format by its content."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ImageFormatNotSupported, NotAnImage
from services.common.operations import FORMATS, Format
from services.worker.imaging.format_detection import HEAD_BYTES, detect_format
from tests.worker.imaging.sample_images import MODES, file_of, gradient


@pytest.mark.parametrize(
    ("file_format", "mode"), [(name, mode) for name in FORMATS for mode in MODES[name]]
)
def test_a_supported_format_is_detected_by_its_content(file_format: Format, mode: str) -> None:
    assert detect_format(file_of(gradient(mode), file_format)[:HEAD_BYTES]) == file_format


def test_a_big_tiff_is_detected_as_a_tiff() -> None:
    assert detect_format(file_of(gradient(), "tiff", big_tiff=True)[:HEAD_BYTES]) == "tiff"


@pytest.mark.parametrize(
    "name", ["ICO", "JPEG2000", "PPM", "DDS", "EPS", "PDF", "ICNS", "SGI", "QOI"]
)
def test_an_image_in_another_format_is_rejected(name: str) -> None:
    file = BytesIO()
    gradient(size=(64, 64)).save(file, name)
    with pytest.raises(ImageFormatNotSupported, match="supported formats are JPEG, PNG"):
        detect_format(file.getvalue()[:HEAD_BYTES])


@pytest.mark.parametrize("name", ["TGA", "PCX"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle", "id_section": b"by hand"}])
def test_a_format_without_a_signature_is_named(
    name: str, mode: str, options: dict[str, Any]
) -> None:
    if (name, mode) == ("PCX", "RGBA"):
        mode = "RGB"
    file = BytesIO()
    gradient(mode).save(file, name, **options)
    with pytest.raises(ImageFormatNotSupported, match=f"looks like {name}"):
        detect_format(file.getvalue()[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "HEIC.*Send a JPEG instead"),
        (b"\0\0\0\x14ftypcrx \0\0\0\0crx ", "camera raw .Canon CR3"),
        (b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 ", "JPEG 2000"),
        (b"IIRO\x08\0\0\0" + bytes(20), "camera raw .Olympus ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(20), "camera raw .Panasonic RW2"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw .Fujifilm RAF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"BA" + bytes(12) + b"BM", "OS/2 bitmap array"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\1\0\0\0" + bytes(36) + b" EMF", "EMF"),
        (b"#define noname_width 16", "XBM"),
        (b"\0\0\2\0\1\0\x20\x20\0\0\0\0\0\0\x30\1\0\0\x16\0\0\0", "CUR"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a drawing -->\n<svg/>', "SVG"),
    ],
)
def test_the_error_names_the_format_that_is_not_supported(head: bytes, name: str) -> None:
    with pytest.raises(ImageFormatNotSupported, match=name):
        detect_format(head)


def test_an_avif_with_a_generic_major_brand_is_accepted() -> None:
    assert detect_format(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(20)) == "avif"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b"\n  <html>", "HTML page"),
        (b'{"error": "no such image"}', "not an image"),
        (b"BMW is a manufacturer of cars and motorcycles", "not an image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not an image"),
        (b"<?xml version='1.0'?><feed/>", "not an image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "not an image"),
        (b"\xff\xd8", "not an image"),
        (bytes(512), "not an image"),
    ],
)
def test_any_other_content_is_not_an_image(content: bytes, reason: str) -> None:
    with pytest.raises(NotAnImage, match=reason):
        detect_format(content)


def test_the_readme_of_the_samples_is_not_an_image() -> None:
    readme = Path(__file__).parents[3] / "local" / "samples" / "README.md"
    with pytest.raises(NotAnImage):
        detect_format(readme.read_bytes()[:HEAD_BYTES])
