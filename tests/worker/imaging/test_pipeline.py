"""What comes out for what went in: the whole way of an image, in this process."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from services.common.errors import (
    ImageDamaged,
    ImageTooComplex,
    ImageTooLarge,
    OperationInvalid,
    ResultTooLarge,
)
from services.common.operations import CONTENT_TYPES, FORMATS, Format
from services.worker.imaging.encode import default_format
from services.worker.imaging.limits import ENCODER_MAX_PIXELS, ImagingLimits
from services.worker.imaging.pipeline import PILLOW_PLUGINS, process
from services.worker.imaging.work import ResultImage
from tests.worker.imaging.sample_images import (
    MODES,
    PHOTOGRAPHS,
    adobe_rgb,
    black_ink_profile,
    bombs,
    corners,
    corners_of,
    exif,
    file_of,
    gradient,
    gray_profile,
    jpeg_with_scans,
    opened,
    png_with_text_bomb,
    png_without_its_palette,
)

GRAYSCALE = [{"name": "grayscale"}]
TURN = [{"name": "rotate", "degrees": 180}]


def done(
    content: bytes,
    *operations: dict[str, Any],
    output: dict[str, Any] | None = None,
    limits: ImagingLimits | None = None,
) -> ResultImage:
    return process(content, operations, output, limits or ImagingLimits())


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the samples, of 255."""
    mean = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(mean) / len(mean)


# ── Grayscale, the main job ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.name)
def test_a_photograph_becomes_a_true_one_channel_image_of_its_size(photograph: Any) -> None:
    before = opened(photograph.read_bytes())
    result = done(photograph.read_bytes(), *GRAYSCALE)
    after = opened(result.body)
    assert after.mode == "L"
    assert after.size == before.size == (result.width, result.height)
    assert after.format == before.format
    assert result.content_type == Image.MIME[str(before.format)]


@pytest.mark.parametrize(
    ("file_format", "mode"), [(name, mode) for name in FORMATS for mode in MODES[name]]
)
def test_every_kind_of_image_becomes_gray(file_format: Format, mode: str) -> None:
    source = gradient(mode)
    result = done(file_of(source, file_format), *GRAYSCALE)
    after = opened(result.body)
    assert (result.width, result.height) == after.size == source.size
    assert result.content_type == CONTENT_TYPES[file_format]
    channels = after.convert("RGB").split()
    assert difference(channels[0], channels[1]) < 1
    assert ImageStat.Stat(after.convert("L")).stddev[0] > 20  # still the gradient


def test_the_shortcut_of_the_jpeg_decoder_gives_the_same_gray() -> None:
    jpeg = file_of(gradient(size=(200, 150)), "jpeg", quality=95)
    short = opened(done(jpeg, *GRAYSCALE, output={"format": "png"}).body)
    long = opened(jpeg).convert("L")
    assert difference(short, long) < 1


def test_sixteen_bits_keep_their_brightness() -> None:
    deep = Image.new("I;16", (4, 4), 0x8000)
    gray = opened(done(file_of(deep, "png"), *GRAYSCALE).body)
    assert gray.getextrema() in {(127, 127), (128, 128)}


def test_an_image_of_one_single_float_value_is_no_division_by_zero() -> None:
    flat = Image.new("F", (4, 4), 3.5)
    assert opened(done(file_of(flat, "tiff"), *GRAYSCALE).body).size == (4, 4)


# ── Other operations, in order ────────────────────────────────────────────────────────────────


def test_operations_are_done_in_order() -> None:
    jpeg = file_of(corners((60, 40)), "jpeg", quality=95, subsampling=0)
    turn, cut = {"name": "rotate", "degrees": 90}, {"name": "resize", "width": 20, "height": 60}
    assert opened(done(jpeg, turn, cut).body).size == (20, 30)
    assert opened(done(jpeg, cut, turn).body).size == (13, 20)
    assert corners_of(opened(done(jpeg, turn, output={"format": "png"}).body)) == [
        "b",
        "r",
        "y",
        "g",
    ]


@pytest.mark.parametrize("mode", ["fit", "fill", "exact"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_smaller_gives_the_same_thumbnail(mode: str, orientation: int) -> None:
    photograph = opened(PHOTOGRAPHS[0].read_bytes()).convert("RGB").resize((1201, 799))
    resize = {"name": "resize", "width": 97, "height": 83, "mode": mode}
    as_jpeg = file_of(photograph, "jpeg", quality=95, exif=exif(orientation))
    as_png = file_of(opened(as_jpeg), "png", exif=exif(orientation))
    small = opened(done(as_jpeg, resize, output={"format": "png"}).body)
    reference = opened(done(as_png, resize).body)
    assert small.size == reference.size
    assert difference(small, reference) < 1.5  # a shift by half a pixel makes it 3


def test_unknown_operations_of_a_row_are_an_error_and_not_skipped() -> None:
    with pytest.raises(OperationInvalid, match=r"operations\.0: .*sharpen"):
        done(file_of(gradient(), "png"), {"name": "sharpen"})


# ── Orientation, color, transparency, metadata ───────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(file_format: Format, orientation: int) -> None:
    transpose = Image.Transpose
    as_stored = {
        1: lambda image: image,
        2: lambda image: image.transpose(transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(transpose.ROTATE_180),
        4: lambda image: image.transpose(transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(transpose.TRANSPOSE),
        6: lambda image: image.transpose(transpose.ROTATE_90),
        7: lambda image: image.transpose(transpose.TRANSVERSE),
        8: lambda image: image.transpose(transpose.ROTATE_270),
    }[orientation](corners((64, 32)))
    options = {} if file_format in {"png", "tiff"} else {"quality": 95}
    content = file_of(as_stored, file_format, exif=exif(orientation), **options)
    result = done(content, {"name": "convert", "format": "png"})
    assert (result.width, result.height) == (64, 32)
    assert corners_of(opened(result.body)) == ["r", "g", "b", "y"]


def test_the_color_profile_of_an_image_is_honored() -> None:
    vivid = Image.new("RGB", (8, 8), (200, 100, 100))
    result = opened(done(file_of(vivid, "png", icc_profile=adobe_rgb()), *TURN).body)
    expected = ImageCms.profileToProfile(
        vivid,
        ImageCms.ImageCmsProfile(BytesIO(adobe_rgb())),
        ImageCms.createProfile("sRGB"),
    )
    assert expected is not None
    assert difference(vivid, expected) > 5
    assert difference(result, expected) < 1
    assert "icc_profile" not in result.info


def test_the_gray_of_a_wide_gamut_jpeg_is_that_of_what_is_seen() -> None:
    vivid = Image.new("RGB", (16, 16), (200, 100, 100))
    tagged = done(file_of(vivid, "jpeg", quality=100, icc_profile=adobe_rgb()), *GRAYSCALE)
    untagged = done(file_of(vivid, "jpeg", quality=100), *GRAYSCALE)
    assert difference(opened(tagged.body), opened(untagged.body)) > 3


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_the_curve_of_a_gray_profile_is_honored(mode: str) -> None:
    middle = Image.new(mode, (8, 8), 128 if mode == "L" else (128, 255))
    linear = done(file_of(middle, "png", icc_profile=gray_profile(gamma=1.0)), *GRAYSCALE)
    assert opened(linear.body).getextrema() == (188, 188)  # sRGB's code for half the light


def test_the_inks_of_a_press_are_those_of_its_profile() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    plain = done(file_of(cyan, "jpeg", quality=100), {"name": "convert", "format": "png"})
    printed = done(
        file_of(cyan, "jpeg", quality=100, icc_profile=black_ink_profile()),
        {"name": "convert", "format": "png"},
    )
    assert difference(opened(plain.body), Image.new("RGB", (8, 8), "cyan")) < 3
    assert difference(opened(printed.body), Image.new("RGB", (8, 8), "black")) < 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("profile", [b"not a profile", adobe_rgb()[:300]])
def test_a_broken_profile_is_ignored(mode: str, profile: bytes) -> None:
    image = gradient(mode)
    result = done(file_of(image, "png", icc_profile=profile), *TURN)
    assert difference(opened(result.body).transpose(Image.Transpose.ROTATE_180), image) < 1


def test_a_profile_of_another_color_space_is_ignored() -> None:
    image = gradient("L")
    result = done(file_of(image, "png", icc_profile=adobe_rgb()), *GRAYSCALE)
    assert opened(result.body).tobytes() == image.tobytes()


@pytest.mark.parametrize("result_format", ["jpeg", "bmp"])
def test_transparency_is_laid_on_white_when_the_result_has_none(result_format: Format) -> None:
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    result = done(file_of(clear, "png"), {"name": "convert", "format": result_format})
    assert opened(result.body).convert("RGB").getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("result_format", ["png", "webp", "avif", "tiff", "gif"])
def test_transparency_is_kept_when_the_result_can(result_format: Format) -> None:
    half = Image.new("RGBA", (16, 16), (0, 0, 255, 255))
    half.paste((0, 0, 0, 0), (8, 0, 16, 16))
    result = opened(done(file_of(half, "png"), {"name": "convert", "format": result_format}).body)
    alpha = result.convert("RGBA").getchannel("A")
    assert alpha.getpixel((3, 8)) == 255
    assert alpha.getpixel((12, 8)) == 0


def test_a_transparent_color_counts_as_transparency() -> None:
    keyed = file_of(Image.new("RGB", (4, 4), (9, 9, 9)), "png", transparency=(9, 9, 9))
    assert opened(done(keyed, *GRAYSCALE).body).getextrema() == (255, 255)


MARK = b"Whose image this is"


@pytest.mark.parametrize("result_format", FORMATS)
@pytest.mark.parametrize("source_format", ["jpeg", "png", "webp", "avif", "gif", "tiff"])
def test_no_metadata_reaches_the_result(source_format: Format, result_format: Format) -> None:
    data = exif(1)
    data[0x010E] = MARK.decode()  # ImageDescription
    options: dict[str, Any] = {"exif": data, "icc_profile": adobe_rgb(), "xmp": MARK}
    if source_format in {"jpeg", "gif"}:
        options["comment"] = MARK
    if source_format == "tiff":
        options["description"] = options.pop("xmp").decode()
    content = file_of(gradient(), source_format, **options)
    content += MARK  # and behind the end of the image
    result = done(content, {"name": "convert", "format": result_format})
    assert MARK in content
    assert MARK not in result.body
    after = opened(result.body)
    assert not after.info.keys() & {"icc_profile", "exif", "xmp", "comment", "photoshop"}
    assert b"Adobe RGB" not in result.body


@pytest.mark.parametrize("file_format", ["gif", "webp", "png", "avif"])
def test_of_an_animation_the_first_frame_counts(file_format: Format) -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    animation = file_of(red, file_format, save_all=True, append_images=[blue], duration=100)
    assert getattr(opened(animation), "n_frames", 1) == 2
    result = opened(done(animation, {"name": "convert", "format": "png"}).body)
    assert getattr(result, "n_frames", 1) == 1
    assert difference(result.convert("RGB"), red) < 10


def test_of_a_jpeg_with_several_images_the_first_counts() -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    file = BytesIO()
    red.save(file, "MPO", save_all=True, append_images=[blue])
    result = done(file.getvalue(), *GRAYSCALE)
    assert (result.content_type, result.width) == ("image/jpeg", 16)


# ── The result's format and quality ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("result_format", FORMATS)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_format_can_be_asked_for(result_format: Format, mode: str) -> None:
    source = file_of(gradient(mode), "png")
    by_output = done(source, *TURN, output={"format": result_format})
    by_operation = done(source, *TURN, {"name": "convert", "format": result_format})
    assert by_output == by_operation
    assert by_output.content_type == CONTENT_TYPES[result_format]
    assert opened(by_output.body).format == result_format.upper()


@pytest.mark.parametrize("result_format", ["jpeg", "webp", "avif"])
def test_quality_buys_bytes(result_format: Format) -> None:
    photograph = PHOTOGRAPHS[0].read_bytes()
    small = {"name": "resize", "width": 100}
    sizes = [
        len(done(photograph, small, output={"format": result_format, "quality": quality}).body)
        for quality in (10, 50, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[2]


def test_a_color_gif_is_written_as_png_which_holds_all_its_colors() -> None:
    assert done(file_of(gradient(), "gif"), *TURN).content_type == "image/png"
    assert done(file_of(gradient(), "gif"), *GRAYSCALE).content_type == "image/gif"


@pytest.mark.parametrize("source_format", ["webp", "avif"])
def test_an_image_too_large_for_its_own_format_is_written_in_another(
    source_format: Format,
) -> None:
    side = 5001  # 25.01 megapixels
    assert side * side > ENCODER_MAX_PIXELS[source_format]
    assert default_format(Image.new("L", (side, side)), source_format) == "jpeg"
    assert default_format(Image.new("LA", (side, side)), source_format) == "png"
    assert default_format(Image.new("L", (side, 10)), source_format) == source_format


# ── Caps ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("file_format", "bomb"), list(bombs()), ids=[name for name, _ in bombs()])
def test_a_bomb_of_every_format_is_refused_by_its_header(file_format: Format, bomb: bytes) -> None:
    assert len(bomb) < 10_000
    with pytest.raises(ImageTooLarge, match="more than 50 megapixels"):
        done(bomb, *GRAYSCALE)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_pixel_cap_is_exact(file_format: Format) -> None:
    image = file_of(gradient(size=(40, 30)), file_format)
    assert done(image, *GRAYSCALE, limits=ImagingLimits(max_pixels=1200)).width == 40
    with pytest.raises(ImageTooLarge):
        done(image, *GRAYSCALE, limits=ImagingLimits(max_pixels=1199))


def test_a_jpeg_of_very_many_scans_is_refused_before_any_is_decoded() -> None:
    with pytest.raises(ImageTooComplex, match="100 scans"):
        done(jpeg_with_scans(101), *GRAYSCALE)
    assert done(jpeg_with_scans(100), *GRAYSCALE).width == 64


def test_compressed_text_is_not_unpacked_without_end() -> None:
    with pytest.raises(ImageDamaged):
        done(png_with_text_bomb(), *GRAYSCALE)


def test_a_result_of_too_many_pixels_is_refused_before_anything_is_decoded() -> None:
    truncated = file_of(gradient(), "jpeg")[:-100]
    huge = {"name": "resize", "width": 60_000, "height": 60_000, "enlarge": True, "mode": "exact"}
    with pytest.raises(ResultTooLarge, match="60000 by 60000"):
        done(truncated, huge, {"name": "resize", "width": 10})


def test_a_result_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(ResultTooLarge, match="bmp file"):
        done(
            file_of(gradient(), "png"),
            {"name": "convert", "format": "bmp"},
            limits=ImagingLimits(max_result_bytes=1000),
        )


@pytest.mark.parametrize("result_format", ["webp", "avif"])
def test_a_slow_encoder_has_a_cap_of_its_own(result_format: Format) -> None:
    large = file_of(Image.new("1", (5001, 5000)), "png")
    with pytest.raises(ResultTooLarge, match=f"the most for {result_format} is 25 megapixels"):
        done(large, {"name": "convert", "format": result_format})


@pytest.mark.parametrize(("result_format", "side"), [("jpeg", 65_501), ("webp", 16_384)])
def test_a_side_longer_than_the_format_can_say_is_refused(result_format: Format, side: int) -> None:
    long = file_of(Image.new("1", (side, 2)), "png")
    with pytest.raises(ResultTooLarge, match="longest side"):
        done(long, {"name": "convert", "format": result_format})


LOADED = """
import sys
from services.worker.imaging import ImagingLimits
from services.worker.imaging.pipeline import prepare

prepare(ImagingLimits())
print(*(name for name in sys.modules if name.endswith("ImagePlugin")))
"""


def test_no_decoder_of_another_format_is_even_loaded() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {
        name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in ended.stdout.split()
    }
    assert loaded == {*PILLOW_PLUGINS, "Ppm"}  # which Pillow loads with the first image


# ── Damaged images ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_an_image_cut_off_is_refused_and_not_half_done(file_format: Format, part: float) -> None:
    whole = file_of(gradient(size=(64, 64)), file_format)
    with pytest.raises(ImageDamaged):
        done(whole[: int(len(whole) * part)], *GRAYSCALE)


def test_an_image_whose_colors_are_missing_is_damaged() -> None:
    with pytest.raises(ImageDamaged):
        done(png_without_its_palette(), *GRAYSCALE)
