"""The colors that files name, with and without a profile, and alpha in GIFs."""

import struct
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from services.worker.imaging import icc
from services.worker.imaging.color import foreign_profile
from tests.worker.imaging.formats.recipes import decoded, result_of
from tests.worker.imaging.layouts.chart import samples
from tests.worker.imaging.layouts.png_files import png
from tests.worker.imaging.sample_images import adobe_rgb, file_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_profile_counts_by_its_colors() -> None:
    linear = icc.rgb_profile(icc.SRGB_PRIMARIES, icc.gamma_curve(1))
    assert foreign_profile(SRGB) is None
    assert foreign_profile(linear) == linear
    assert foreign_profile(adobe_rgb()) == adobe_rgb()
    assert foreign_profile(b"no profile") is None


@pytest.mark.parametrize(
    ("gamma", "gray"), [(45_455, 128), (100_000, 188), (22_727, 62)], ids=["sRGB", "1", "4.4"]
)
def test_the_gamma_of_a_png_counts(gamma: int, gray: int) -> None:
    pixels = [(128,)] * len(samples(1, 8))
    image = decoded(png(0, 8, pixels, (b"gAMA", struct.pack(">I", gamma))))
    assert image.getpixel((5, 5)) == pytest.approx((gray, gray, gray, 255), abs=3)


def test_the_color_space_of_a_png_counts() -> None:
    green = [(0, 255, 0)] * len(samples(1, 8))
    p3 = decoded(png(2, 8, green, (b"cICP", b"\x0c\x0d\0\1")))
    assert p3.getpixel((5, 5)) == (0, 255, 0, 255), "sRGB has no such green"
    pale = [(100, 200, 100)] * len(samples(1, 8))
    red, green_level, _, _ = decoded(png(2, 8, pale, (b"cICP", b"\x0c\x0d\0\1"))).getpixel((5, 5))  # type: ignore[misc]
    assert red < 70
    assert green_level > 200


def test_alpha_is_cut_at_one_half_for_a_gif() -> None:
    image = Image.new("RGBA", (4, 1))
    for x, alpha in enumerate((0, 127, 128, 255)):
        image.putpixel((x, 0), (200, 0, 0, alpha))
    gif = decoded_gif(image)
    assert [gif.getpixel((x, 0))[3] for x in range(4)] == [0, 0, 255, 255]  # type: ignore[index]
    assert gif.getpixel((2, 0)) == pytest.approx((227, 127, 127, 255), abs=4)


def test_gray_with_alpha_keeps_it_in_a_gif() -> None:
    image = Image.new("LA", (2, 1), (90, 255))
    image.putpixel((0, 0), (90, 0))
    gif = decoded_gif(image)
    assert [gif.getpixel((x, 0))[3] for x in range(2)] == [0, 255]  # type: ignore[index]


def decoded_gif(image: Image.Image) -> Image.Image:
    body = result_of(file_of(image, "png"), output={"format": "gif"}).body
    return Image.open(BytesIO(body)).convert("RGBA")
