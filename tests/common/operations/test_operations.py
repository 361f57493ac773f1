"""The operations: validation, result sizes and pixels."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from services.common.operations import (
    DEFAULT_OPERATIONS,
    MAX_OPERATIONS,
    OPERATIONS,
    Convert,
    Grayscale,
    Output,
    Recipe,
    Resize,
    Rotate,
    catalogue,
    result_format,
)

ONE_OF_EACH: list[dict[str, Any]] = [
    {"name": "resize", "width": 400, "height": 300, "mode": "fit"},
    {"name": "rotate", "degrees": 90},
    {"name": "grayscale"},
    {"name": "convert", "format": "webp"},
]


def fields_of(invalid: ValidationError) -> list[tuple[str, str]]:
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in invalid.errors()]


def test_the_default_operation_is_grayscale() -> None:
    assert Recipe().operations == list(DEFAULT_OPERATIONS) == [Grayscale()]


def test_operations_are_parsed_in_order_from_flat_objects() -> None:
    recipe = Recipe.model_validate({"operations": ONE_OF_EACH})
    assert recipe.operations == [
        Resize(width=400, height=300),
        Rotate(degrees=90),
        Grayscale(),
        Convert(format="webp"),
    ]


def test_a_recipe_survives_serialization() -> None:
    recipe = Recipe.model_validate({"operations": ONE_OF_EACH, "output": {"quality": 70}})
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"name": "sharpen"}, "operations.0"),
        ({"width": 3}, "operations.0"),
        ("grayscale", "operations.0"),
        ({"name": "grayscale", "strength": 1}, "operations.0.grayscale.strength"),
        ({"name": "resize"}, "operations.0.resize"),
        ({"name": "resize", "width": "400"}, "operations.0.resize.width"),
        ({"name": "resize", "width": 400.5}, "operations.0.resize.width"),
        ({"name": "resize", "width": True}, "operations.0.resize.width"),
        ({"name": "resize", "width": 0}, "operations.0.resize.width"),
        ({"name": "resize", "width": 65_501}, "operations.0.resize.width"),
        ({"name": "resize", "width": 4, "mode": "fill"}, "operations.0.resize"),
        ({"name": "resize", "height": 4, "mode": "exact"}, "operations.0.resize"),
        ({"name": "resize", "width": 4, "enlarge": "yes"}, "operations.0.resize.enlarge"),
        ({"name": "rotate"}, "operations.0.rotate.degrees"),
        ({"name": "rotate", "degrees": 45}, "operations.0.rotate.degrees"),
        ({"name": "convert", "format": "jpg"}, "operations.0.convert.format"),
    ],
)
def test_an_invalid_operation_is_rejected_with_its_field_name(operation: Any, field: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        Recipe.model_validate({"operations": [operation]})
    assert [name for name, _ in fields_of(invalid.value)] == [field]


@pytest.mark.parametrize("count", [0, MAX_OPERATIONS + 1])
def test_the_number_of_operations_is_bounded(count: int) -> None:
    with pytest.raises(ValidationError) as invalid:
        Recipe.model_validate({"operations": [{"name": "grayscale"}] * count})
    assert [name for name, _ in fields_of(invalid.value)] == ["operations"]


@pytest.mark.parametrize(
    ("output", "field"),
    [
        ({"format": "ico"}, "output.format"),
        ({"quality": 0}, "output.quality"),
        ({"quality": 101}, "output.quality"),
        ({"quality": "80"}, "output.quality"),
        ({"color": "red"}, "output.color"),
        ({"format": "png", "quality": 80}, "output"),
    ],
)
def test_an_invalid_output_is_rejected_with_its_field_name(output: Any, field: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        Recipe.model_validate({"output": output})
    assert [name for name, _ in fields_of(invalid.value)] == [field]


def test_quality_is_rejected_for_a_lossless_format() -> None:
    with pytest.raises(ValidationError, match="png is lossless"):
        Recipe.model_validate(
            {"operations": [{"name": "convert", "format": "png"}], "output": {"quality": 80}}
        )


def test_convert_and_output_both_set_the_format() -> None:
    assert result_format([Convert(format="png")]) == "png"
    assert result_format([Grayscale()], Output(format="png")) == "png"
    assert result_format([Convert(format="png")], Output(format="png")) == "png"
    assert result_format([Grayscale()], Output(quality=50)) is None


@pytest.mark.parametrize(
    ("operations", "output", "field"),
    [
        ([{"name": "convert", "format": "png"}], {"format": "jpeg"}, "output"),
        (
            [{"name": "convert", "format": "png"}, {"name": "convert", "format": "jpeg"}],
            None,
            "operations",
        ),
    ],
)
def test_two_formats_for_one_result_are_rejected(operations: Any, output: Any, field: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        Recipe.model_validate({"operations": operations, "output": output})
    [(name, message)] = fields_of(invalid.value)
    assert name == field
    assert "jpeg and png" in message


def test_the_catalogue_describes_every_operation_and_its_parameters() -> None:
    entries = {entry["name"]: entry for entry in catalogue()}
    assert entries.keys() == OPERATIONS.keys() == {"convert", "grayscale", "resize", "rotate"}
    for name, entry in entries.items():
        assert entry["description"]
        schema = entry["schema"]
        assert schema["properties"]["name"]["const"] == name
        assert "name" in schema["required"]
        assert schema["additionalProperties"] is False
    assert entries["resize"]["schema"]["properties"]["mode"]["enum"] == ["fit", "fill", "exact"]


# ── Sizes ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (Resize(width=400, height=300), (1000, 500), (400, 200)),
        (Resize(width=400, height=300), (500, 1000), (150, 300)),
        (Resize(width=400), (1000, 500), (400, 200)),
        (Resize(height=300), (1000, 500), (600, 300)),
        (Resize(width=400, height=300), (40, 30), (40, 30)),
        (Resize(width=400, height=300, enlarge=True), (40, 20), (400, 200)),
        (Resize(width=1, height=1), (10_000, 10), (1, 1)),
        (Resize(width=400, height=300, mode="fill"), (1000, 500), (400, 300)),
        (Resize(width=400, height=300, mode="fill"), (200, 300), (200, 150)),
        (Resize(width=400, height=300, mode="fill", enlarge=True), (200, 300), (400, 300)),
        (Resize(width=400, height=300, mode="exact"), (1000, 500), (400, 300)),
        (Resize(width=400, height=300, mode="exact"), (200, 500), (200, 300)),
        (Resize(width=400, height=300, mode="exact", enlarge=True), (2, 5), (400, 300)),
    ],
)
def test_resize_returns_the_requested_size(
    resize: Resize, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert resize.result_size(size) == expected
    assert resize.apply(Image.new("RGB", size), expected).size == expected


sides = st.integers(min_value=1, max_value=500)


@given(
    width=sides,
    height=sides,
    mode=st.sampled_from(["fit", "fill", "exact"]),
    size=st.tuples(sides, sides),
)
def test_resize_never_enlarges_by_default(
    width: int, height: int, mode: Any, size: tuple[int, int]
) -> None:
    resize = Resize(width=width, height=height, mode=mode)
    result = resize.result_size(size)
    assert result[0] <= min(size[0], width)
    assert result[1] <= min(size[1], height)
    assert resize.apply(Image.new("L", size), result).size == result


@given(width=sides, height=sides, size=st.tuples(sides, sides))
def test_fit_fills_one_side_and_keeps_the_aspect_ratio(
    width: int, height: int, size: tuple[int, int]
) -> None:
    result = Resize(width=width, height=height, enlarge=True).result_size(size)
    assert result[0] == width or result[1] == height
    # The other side is rounded to a whole pixel.
    assert abs(result[0] * size[1] - result[1] * size[0]) <= max(size)


def test_fill_crops_both_ends_equally() -> None:
    stripes = Image.new("L", (300, 100), 0)
    stripes.paste(255, (100, 0, 200, 100))
    middle = Resize(width=100, height=100, mode="fill").apply(stripes, (100, 100))
    assert middle.getextrema() == (255, 255)


def test_the_color_of_transparent_pixels_does_not_bleed() -> None:
    image = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (50, 0, 100, 100))
    small = Resize(width=9).apply(image, (9, 9))
    red, _, _, alpha = small.getpixel((4, 4))  # type: ignore[misc]
    assert 0 < alpha < 255
    assert red == 0


@pytest.mark.parametrize(
    ("degrees", "size", "bright_corner"),
    [(90, (2, 3), (1, 0)), (180, (3, 2), (2, 1)), (270, (2, 3), (0, 2))],
)
def test_rotate_turns_clockwise(
    degrees: Any, size: tuple[int, int], bright_corner: tuple[int, int]
) -> None:
    image = Image.new("L", (3, 2), 0)
    image.putpixel((0, 0), 255)
    rotate = Rotate(degrees=degrees)
    assert rotate.result_size((3, 2)) == size
    turned = rotate.apply(image, size)
    assert turned.size == size
    assert turned.getpixel(bright_corner) == 255


def test_grayscale_flattens_transparency_onto_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    gray = Grayscale().apply(image, (2, 1))
    assert gray.mode == "L"
    assert gray.tobytes() == b"\xff\x00"
