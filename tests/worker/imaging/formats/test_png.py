"""PNGs with damaged metadata are complete; those with missing pixels are refused or kept."""

import struct
import zlib
from collections.abc import Sequence

import pytest
from PIL import Image

from services.common.errors import ImageDamaged, PageNotFound
from tests.worker.imaging.formats.recipes import decoded, mean_difference, result_of
from tests.worker.imaging.layouts.chart import HEIGHT, chart, samples
from tests.worker.imaging.layouts.png_files import chunk, png
from tests.worker.imaging.sample_images import exif, file_of

WHOLE = png(2, 8, samples(3, 8))
SIGNATURE_AND_HEADER = WHOLE[: 8 + 25]
PIXELS = WHOLE[8 + 25 : -12]
END = WHOLE[-12:]
ROWS = zlib.decompress(PIXELS[8:-4])

METADATA = {
    "tEXt": b"Comment\0a comment",
    "zTXt": b"Comment\0\0" + zlib.compress(bytes(1_600_000)),
    "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(1_600_000)),
    "pHYs": struct.pack(">IIB", 2835, 2835, 1),
    "gAMA": struct.pack(">I", 100_000),
    "cHRM": bytes(32),
    "sRGB": b"\0",
    "iCCP": b"name\0\0" + zlib.compress(b"no profile"),
    "bKGD": bytes(6),
    "tIME": bytes(7),
    "sBIT": b"\x08\x08\x08",
    "eXIf": b"II*\0",
    "cICP": b"\1\x0d\0\1",
    "acTL": bytes(8),
    "tRNS": bytes(6),
}


def wrong(part: bytes) -> bytes:
    """The chunk with a wrong checksum."""
    return part[:-1] + bytes([part[-1] ^ 1])


def with_pixels(data: bytes, *before: bytes) -> bytes:
    return SIGNATURE_AND_HEADER + b"".join(before) + chunk(b"IDAT", data) + END


@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize("place", ["before", "after"])
def test_metadata_with_a_wrong_checksum_or_half_of_it_is_ignored(kind: str, place: str) -> None:
    data = METADATA[kind]
    for metadata in (
        wrong(chunk(kind.encode(), data)),
        chunk(kind.encode(), data[: len(data) // 2 - 1]),
        chunk(kind.encode(), b""),
    ):
        parts = (PIXELS, metadata) if place == "after" else (metadata, PIXELS)
        content = SIGNATURE_AND_HEADER + b"".join(parts) + END
        assert not result_of(content).warnings
        assert mean_difference(decoded(content), chart("RGB")) == 0, metadata[:20]


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-12],
        WHOLE[:-6],
        WHOLE + b"more",
        wrong(WHOLE),
        with_pixels(zlib.compress(ROWS)[:-4]),
        with_pixels(zlib.compress(ROWS) + b"more"),
        with_pixels(zlib.compress(ROWS + ROWS)),
        SIGNATURE_AND_HEADER + chunk(b"IDAT", b"") + PIXELS + END,
    ],
    ids=["no end", "half an end", "trailing", "IEND", "no Adler-32", "more data", "rows", "empty"],
)
def test_a_png_with_all_pixels_is_complete(content: bytes) -> None:
    assert not result_of(content).warnings
    assert mean_difference(decoded(content), chart("RGB")) == 0


DAMAGED = {
    "file cut": WHOLE[: len(WHOLE) * 2 // 3],
    "rows missing": with_pixels(zlib.compress(ROWS[: len(ROWS) * 2 // 3])),
    "black rows missing": with_pixels(zlib.compress(bytes(len(ROWS) // 2))),
    "bits flipped": WHOLE[:200] + bytes([WHOLE[200] ^ 0xFF]) + WHOLE[201:],
    "interlaced": png(2, 8, samples(3, 8), is_interlaced=True)[:-200],
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("metadata", [b"", chunk(b"eXIf", exif(1).tobytes()[6:])])
def test_missing_pixels_are_refused_or_kept(content: bytes, metadata: bytes) -> None:
    content = content[:33] + metadata + content[33:]
    with pytest.raises(ImageDamaged, match="missing"):
        result_of(content)
    [warning] = result_of(content, damaged="keep").warnings
    assert "missing" in warning


def test_the_rows_before_the_damage_are_kept() -> None:
    image = decoded(DAMAGED["rows missing"], damaged="keep")
    upper = (0, 0, image.width, HEIGHT // 2)
    assert mean_difference(image.crop(upper), chart("RGB").crop(upper)) == 0


def test_a_black_image_is_not_taken_for_one_without_rows() -> None:
    black = with_pixels(zlib.compress(bytes(len(ROWS))))
    assert not result_of(black).warnings


def test_more_alphas_than_colors_are_ignored() -> None:
    colors = (b"PLTE", bytes(range(12)))
    pixels: Sequence[tuple[int, ...]] = samples(1, 2)
    image = decoded(png(3, 2, pixels, colors, (b"tRNS", bytes(5))))
    assert image.getchannel("A").getextrema() == (255, 255)


def test_the_page_chooses_a_frame() -> None:
    colors = ("red", "lime", "blue")
    first, *others = [Image.new("RGB", (8, 8), color) for color in colors]
    animated = file_of(first, "png", save_all=True, append_images=others)
    pages = [decoded(animated, page=page).getpixel((4, 4)) for page in (1, 2, 3)]
    assert pages == [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]
    with pytest.raises(PageNotFound, match="has 3 pages"):
        decoded(animated, page=4)
