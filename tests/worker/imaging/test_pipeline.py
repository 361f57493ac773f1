"""Results of the imaging pipeline, which runs in the process of the test."""

import subprocess
import sys
import tracemalloc
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
from services.worker.imaging.handler import ResultImage
from services.worker.imaging.limits import ENCODER_MAX_PIXELS, ImagingLimits
from services.worker.imaging.pipeline import PILLOW_PLUGINS, process
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
    png_without_palette,
)

GRAYSCALE = [{"name": "grayscale"}]
ROTATE = [{"name": "rotate", "degrees": 180}]


def result_of(
    content: bytes,
    *operations: dict[str, Any],
    output: dict[str, Any] | None = None,
    limits: ImagingLimits | None = None,
    **members: Any,
) -> ResultImage:
    recipe = {"operations": operations, "output": output, **members}
    return process(content, recipe, limits or ImagingLimits())


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of the samples, from 0 to 255."""
    mean = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(mean) / len(mean)


# ── Grayscale ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.name)
def test_a_photograph_becomes_a_one_channel_image_of_the_same_size(photograph: Any) -> None:
    before = opened(photograph.read_bytes())
    result = result_of(photograph.read_bytes(), *GRAYSCALE)
    after = opened(result.body)
    assert after.mode == "L"
    assert after.size == before.size == (result.width, result.height)
    assert after.format == before.format
    assert result.content_type == Image.MIME[str(before.format)]


@pytest.mark.parametrize(
    ("file_format", "mode"), [(name, mode) for name in FORMATS for mode in MODES[name]]
)
def test_an_image_of_any_format_and_mode_becomes_gray(file_format: Format, mode: str) -> None:
    source = gradient(mode)
    result = result_of(file_of(source, file_format), *GRAYSCALE)
    after = opened(result.body)
    assert (result.width, result.height) == after.size == source.size
    assert result.content_type == CONTENT_TYPES[file_format]
    channels = after.convert("RGB").split()
    assert difference(channels[0], channels[1]) < 1
    assert ImageStat.Stat(after.convert("L")).stddev[0] > 20, "the gradient is lost"


def test_decoding_a_jpeg_without_color_gives_the_same_gray() -> None:
    jpeg = file_of(gradient(size=(200, 150)), "jpeg", quality=95)
    without_color = opened(result_of(jpeg, *GRAYSCALE, output={"format": "png"}).body)
    with_color = opened(jpeg).convert("L")
    assert difference(without_color, with_color) < 1


def test_a_16_bit_image_keeps_its_brightness() -> None:
    deep = Image.new("I;16", (4, 4), 0x8000)
    gray = opened(result_of(file_of(deep, "png"), *GRAYSCALE).body)
    assert gray.getextrema() in {(127, 127), (128, 128)}


def test_a_float_image_with_a_single_value_is_accepted() -> None:
    flat = Image.new("F", (4, 4), 3.5)
    assert opened(result_of(file_of(flat, "tiff"), *GRAYSCALE).body).size == (4, 4)


# ── Other operations ──────────────────────────────────────────────────────────────────────────


def test_operations_are_applied_in_order() -> None:
    jpeg = file_of(corners((60, 40)), "jpeg", quality=95, subsampling=0)
    rotate = {"name": "rotate", "degrees": 90}
    resize = {"name": "resize", "width": 20, "height": 60}
    assert opened(result_of(jpeg, rotate, resize).body).size == (20, 30)
    assert opened(result_of(jpeg, resize, rotate).body).size == (13, 20)
    assert corners_of(opened(result_of(jpeg, rotate, output={"format": "png"}).body)) == [
        "b",
        "r",
        "y",
        "g",
    ]


@pytest.mark.parametrize("mode", ["fit", "fill", "exact"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_decoding_a_jpeg_to_a_smaller_size_gives_the_same_thumbnail(
    mode: str, orientation: int
) -> None:
    photograph = opened(PHOTOGRAPHS[0].read_bytes()).convert("RGB").resize((1201, 799))
    resize = {"name": "resize", "width": 97, "height": 83, "mode": mode}
    as_jpeg = file_of(photograph, "jpeg", quality=95, exif=exif(orientation))
    as_png = file_of(opened(as_jpeg), "png", exif=exif(orientation))
    small = opened(result_of(as_jpeg, resize, output={"format": "png"}).body)
    reference = opened(result_of(as_png, resize).body)
    assert small.size == reference.size
    assert difference(small, reference) < 1.5  # a shift by half a pixel would make it 3


def test_an_unknown_operation_is_an_error() -> None:
    with pytest.raises(OperationInvalid, match=r"operations\.0: .*sharpen"):
        result_of(file_of(gradient(), "png"), {"name": "sharpen"})


# ── Orientation, color, transparency, metadata ───────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_result_is_upright(file_format: Format, orientation: int) -> None:
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
    result = result_of(content, {"name": "convert", "format": "png"})
    assert (result.width, result.height) == (64, 32)
    assert corners_of(opened(result.body)) == ["r", "g", "b", "y"]


def test_the_color_profile_is_applied() -> None:
    vivid = Image.new("RGB", (8, 8), (200, 100, 100))
    result = opened(result_of(file_of(vivid, "png", icc_profile=adobe_rgb()), *ROTATE).body)
    expected = ImageCms.profileToProfile(
        vivid,
        ImageCms.ImageCmsProfile(BytesIO(adobe_rgb())),
        ImageCms.createProfile("sRGB"),
    )
    assert expected is not None
    assert difference(vivid, expected) > 5
    assert difference(result, expected) < 1
    assert "icc_profile" not in result.info


def test_the_color_profile_changes_the_gray_of_a_wide_gamut_jpeg() -> None:
    vivid = Image.new("RGB", (16, 16), (200, 100, 100))
    tagged = result_of(file_of(vivid, "jpeg", quality=100, icc_profile=adobe_rgb()), *GRAYSCALE)
    untagged = result_of(file_of(vivid, "jpeg", quality=100), *GRAYSCALE)
    assert difference(opened(tagged.body), opened(untagged.body)) > 3


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_the_curve_of_a_gray_profile_is_applied(mode: str) -> None:
    middle = Image.new(mode, (8, 8), 128 if mode == "L" else (128, 255))
    linear = result_of(file_of(middle, "png", icc_profile=gray_profile(gamma=1.0)), *GRAYSCALE)
    assert opened(linear.body).getextrema() == (188, 188)  # sRGB's code for half the light


def test_a_cmyk_profile_is_applied() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    plain = result_of(file_of(cyan, "jpeg", quality=100), {"name": "convert", "format": "png"})
    printed = result_of(
        file_of(cyan, "jpeg", quality=100, icc_profile=black_ink_profile()),
        {"name": "convert", "format": "png"},
    )
    assert difference(opened(plain.body), Image.new("RGB", (8, 8), "cyan")) < 3
    assert difference(opened(printed.body), Image.new("RGB", (8, 8), "black")) < 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("profile", [b"not a profile", adobe_rgb()[:300]])
def test_a_broken_profile_is_ignored(mode: str, profile: bytes) -> None:
    image = gradient(mode)
    result = result_of(file_of(image, "png", icc_profile=profile), *ROTATE)
    assert difference(opened(result.body).transpose(Image.Transpose.ROTATE_180), image) < 1


def test_a_profile_of_another_color_space_is_ignored() -> None:
    image = gradient("L")
    result = result_of(file_of(image, "png", icc_profile=adobe_rgb()), *GRAYSCALE)
    assert opened(result.body).tobytes() == image.tobytes()


@pytest.mark.parametrize("result_format", ["jpeg", "bmp"])
def test_transparent_pixels_become_white_in_an_opaque_format(result_format: Format) -> None:
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    result = result_of(file_of(clear, "png"), {"name": "convert", "format": result_format})
    assert opened(result.body).convert("RGB").getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("result_format", ["png", "webp", "avif", "tiff", "gif"])
def test_transparency_is_kept_in_a_format_that_supports_it(result_format: Format) -> None:
    half = Image.new("RGBA", (16, 16), (0, 0, 255, 255))
    half.paste((0, 0, 0, 0), (8, 0, 16, 16))
    result = opened(
        result_of(file_of(half, "png"), {"name": "convert", "format": result_format}).body
    )
    alpha = result.convert("RGBA").getchannel("A")
    assert alpha.getpixel((3, 8)) == 255
    assert alpha.getpixel((12, 8)) == 0


def test_a_transparent_color_key_counts_as_transparency() -> None:
    keyed = file_of(Image.new("RGB", (4, 4), (9, 9, 9)), "png", transparency=(9, 9, 9))
    assert opened(result_of(keyed, *GRAYSCALE).body).getextrema() == (255, 255)


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
    content += MARK  # after the end of the image
    result = result_of(content, {"name": "convert", "format": result_format})
    assert MARK in content
    assert MARK not in result.body
    after = opened(result.body)
    assert not after.info.keys() & {"icc_profile", "exif", "xmp", "comment", "photoshop"}
    assert b"Adobe RGB" not in result.body


@pytest.mark.parametrize("file_format", ["gif", "webp", "png", "avif"])
def test_an_animation_is_processed_as_its_first_frame(file_format: Format) -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    animation = file_of(red, file_format, save_all=True, append_images=[blue], duration=100)
    assert getattr(opened(animation), "n_frames", 1) == 2
    result = opened(result_of(animation, {"name": "convert", "format": "png"}).body)
    assert getattr(result, "n_frames", 1) == 1
    assert difference(result.convert("RGB"), red) < 10


def test_a_jpeg_with_several_images_is_processed_as_its_first_image() -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    file = BytesIO()
    red.save(file, "MPO", save_all=True, append_images=[blue])
    result = result_of(file.getvalue(), *GRAYSCALE)
    assert (result.content_type, result.width) == ("image/jpeg", 16)


# ── The result's format and quality ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("result_format", FORMATS)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_format_can_be_requested(result_format: Format, mode: str) -> None:
    source = file_of(gradient(mode), "png")
    by_output = result_of(source, *ROTATE, output={"format": result_format})
    by_operation = result_of(source, *ROTATE, {"name": "convert", "format": result_format})
    assert by_output == by_operation
    assert by_output.content_type == CONTENT_TYPES[result_format]
    assert opened(by_output.body).format == result_format.upper()


@pytest.mark.parametrize("result_format", ["jpeg", "webp", "avif"])
def test_a_higher_quality_takes_more_bytes(result_format: Format) -> None:
    photograph = PHOTOGRAPHS[0].read_bytes()
    small = {"name": "resize", "width": 100}
    sizes = [
        len(result_of(photograph, small, output={"format": result_format, "quality": quality}).body)
        for quality in (10, 50, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[2]


def test_the_result_for_a_color_gif_is_a_png() -> None:
    assert result_of(file_of(gradient(), "gif"), *ROTATE).content_type == "image/png"
    assert result_of(file_of(gradient(), "gif"), *GRAYSCALE).content_type == "image/gif"


@pytest.mark.parametrize("source_format", ["webp", "avif"])
def test_an_image_too_large_for_its_format_gets_another_format(source_format: Format) -> None:
    side = 5001  # 25.01 megapixels
    assert side * side > ENCODER_MAX_PIXELS[source_format]
    assert default_format(Image.new("L", (side, side)), source_format) == "jpeg"
    assert default_format(Image.new("LA", (side, side)), source_format) == "png"
    assert default_format(Image.new("L", (side, 10)), source_format) == source_format


# ── Limits ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("file_format", "bomb"), list(bombs()), ids=[name for name, _ in bombs()])
def test_a_bomb_is_rejected_by_its_header(file_format: Format, bomb: bytes) -> None:
    assert len(bomb) < 10_000
    with pytest.raises(ImageTooLarge, match="more than 50 megapixels"):
        result_of(bomb, *GRAYSCALE)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_pixel_limit_is_exact(file_format: Format) -> None:
    image = file_of(gradient(size=(40, 30)), file_format)
    assert result_of(image, *GRAYSCALE, limits=ImagingLimits(max_pixels=1200)).width == 40
    with pytest.raises(ImageTooLarge):
        result_of(image, *GRAYSCALE, limits=ImagingLimits(max_pixels=1199))


def test_a_jpeg_with_too_many_scans_is_rejected_before_decoding() -> None:
    with pytest.raises(ImageTooComplex, match="100 scans"):
        result_of(jpeg_with_scans(101), *GRAYSCALE)
    assert result_of(jpeg_with_scans(100), *GRAYSCALE).width == 64


def test_compressed_text_of_a_png_is_not_expanded() -> None:
    tracemalloc.start()
    try:
        result_of(png_with_text_bomb(), *GRAYSCALE)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000, "the texts expand to 200 MB"


def test_a_result_with_too_many_pixels_is_rejected_before_decoding() -> None:
    truncated = file_of(gradient(), "jpeg")[:-100]
    huge = {"name": "resize", "width": 60_000, "height": 60_000, "enlarge": True, "mode": "exact"}
    with pytest.raises(ResultTooLarge, match="60000 by 60000"):
        result_of(truncated, huge, {"name": "resize", "width": 10})


def enlargements(count: int) -> list[dict[str, Any]]:
    """Resizes to 36 megapixels, each from a different size."""
    sides = [6000 - number for number in range(count)]
    return [
        {"name": "resize", "width": side, "height": side, "mode": "exact", "enlarge": True}
        for side in sides
    ]


def test_a_tiny_image_with_many_enlargements_is_rejected_before_decoding() -> None:
    truncated = file_of(gradient(), "jpeg")[:-100]
    with pytest.raises(ImageTooComplex, match=r"180 megapixels in all\. The maximum is 150"):
        result_of(truncated, *enlargements(5))


def test_only_operations_that_compute_pixels_count_towards_their_maximum() -> None:
    image = file_of(gradient(size=(40, 30)), "png")
    convert = {"name": "convert", "format": "png"}
    three: list[dict[str, Any]] = [
        {"name": "rotate", "degrees": 90},
        {"name": "grayscale"},
        {"name": "rotate", "degrees": 180},
    ]
    limits = ImagingLimits(max_computed_pixels=3 * 40 * 30)

    assert result_of(image, *three, convert, limits=limits).width == 30
    with pytest.raises(ImageTooComplex):
        result_of(image, *three, {"name": "grayscale"}, convert, limits=limits)


@pytest.mark.parametrize(
    "before", [[], [{"name": "grayscale"}], [{"name": "rotate", "degrees": 90}]]
)
def test_a_jpeg_over_the_limit_is_decoded_smaller_for_a_small_result(before: Any) -> None:
    jpeg = file_of(gradient(size=(400, 300)), "jpeg")
    limits = ImagingLimits(max_pixels=40_000, max_result_pixels=40_000)
    result = result_of(jpeg, *before, {"name": "resize", "width": 60}, limits=limits)
    assert result.width == 60
    with pytest.raises(ImageTooLarge):
        result_of(jpeg, *before or ROTATE, limits=limits)
    with pytest.raises(ImageTooLarge):
        result_of(jpeg, *before, {"name": "resize", "width": 201}, limits=limits)


def test_a_progressive_jpeg_that_does_not_fit_into_memory_is_rejected_before_decoding() -> None:
    jpeg = file_of(gradient(size=(400, 300)), "jpeg", progressive=True)
    with pytest.raises(ImageTooLarge, match="Send it as a baseline JPEG"):
        result_of(jpeg, *GRAYSCALE, limits=ImagingLimits(memory_bytes=400_000))


def test_a_result_with_too_many_bytes_is_rejected() -> None:
    with pytest.raises(ResultTooLarge, match="bmp file"):
        result_of(
            file_of(gradient(), "png"),
            {"name": "convert", "format": "bmp"},
            limits=ImagingLimits(max_result_bytes=1000),
        )


@pytest.mark.parametrize("result_format", ["webp", "avif"])
def test_a_slow_encoder_has_a_lower_pixel_limit(result_format: Format) -> None:
    large = file_of(Image.new("1", (5001, 5000)), "png")
    with pytest.raises(ResultTooLarge, match=f"maximum for {result_format} is 25 megapixels"):
        result_of(large, {"name": "convert", "format": result_format})


@pytest.mark.parametrize(("result_format", "side"), [("jpeg", 65_501), ("webp", 16_384)])
def test_a_side_longer_than_the_format_allows_is_rejected(result_format: Format, side: int) -> None:
    long = file_of(Image.new("1", (side, 2)), "png")
    with pytest.raises(ResultTooLarge, match="maximum for a side"):
        result_of(long, {"name": "convert", "format": result_format})


PRINT_LOADED_PLUGINS = """
import sys
from services.worker.imaging import ImagingLimits
from services.worker.imaging.pipeline import load_handler

load_handler(ImagingLimits())
print(*(name for name in sys.modules if name.endswith("ImagePlugin")))
"""


def test_no_decoder_of_another_format_is_loaded() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PRINT_LOADED_PLUGINS],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {
        name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in finished.stdout.split()
    }
    assert loaded == {*PILLOW_PLUGINS, "Ppm"}  # Pillow loads Ppm with the first image


# ── Damaged images ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_rejected(file_format: Format, part: float) -> None:
    whole = file_of(gradient(size=(64, 64)), file_format)
    with pytest.raises(ImageDamaged):
        result_of(whole[: int(len(whole) * part)], *GRAYSCALE)


@pytest.mark.parametrize(
    "content",
    [b"RIFF\x10\0\0\0WEBPVP8 \4\0\0\0abcd", b"RIFF\x0c\0\0\0WEBPVP8X", b"RIFF\4\0\0\0WEBP"],
)
def test_a_webp_without_a_header_is_damaged(content: bytes) -> None:
    with pytest.raises(ImageDamaged):
        result_of(content, *GRAYSCALE)


def test_an_image_without_its_palette_is_damaged() -> None:
    with pytest.raises(ImageDamaged):
        result_of(png_without_palette(), *GRAYSCALE)
