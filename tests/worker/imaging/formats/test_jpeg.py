"""JPEGs that lack data: accepted if all pixels are there, else refused or kept with a warning."""

import re
import struct

import pytest

from services.common.errors import ImageDamaged, ImageFormatNotSupported
from tests.worker.imaging.formats.recipes import decoded, mean_difference, result_of
from tests.worker.imaging.sample_images import file_of, gradient

SIZE = (160, 120)
KINDS = {
    "sequential": file_of(gradient(size=SIZE), "jpeg"),
    "progressive": file_of(gradient(size=SIZE), "jpeg", progressive=True),
    "gray": file_of(gradient("L", SIZE), "jpeg"),
    "with restarts": file_of(gradient(size=SIZE), "jpeg", restart_marker_blocks=4),
}
RESTART = re.compile(rb"\xff[\xd0-\xd7]")


@pytest.mark.parametrize("jpeg", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(3000)], ids=["none", "half", "zeros"])
def test_a_jpeg_without_the_marker_of_its_end_is_complete(jpeg: bytes, end: bytes) -> None:
    cut = jpeg[:-2] + end
    assert not result_of(cut).warnings
    assert mean_difference(decoded(cut), decoded(jpeg)) == 0


@pytest.mark.parametrize("jpeg", KINDS.values(), ids=KINDS)
def test_a_few_missing_bytes_are_a_warning(jpeg: bytes) -> None:
    [warning] = result_of(jpeg[:-4]).warnings
    assert re.search(r"lower \d of 120 rows are missing or incomplete", warning)
    assert mean_difference(decoded(jpeg[:-4]), decoded(jpeg)) < 1


@pytest.mark.parametrize("jpeg", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("rest", [b"", bytes(2000)], ids=["cut", "filled with zeros"])
def test_half_a_jpeg_is_refused_or_kept(jpeg: bytes, rest: bytes) -> None:
    half = jpeg[: len(jpeg) // 2] + rest
    with pytest.raises(ImageDamaged, match="missing"):
        result_of(half)
    [warning] = result_of(half, damaged="keep").warnings
    assert "missing" in warning


def test_a_missing_part_between_restart_markers_is_refused_or_kept() -> None:
    jpeg = KINDS["with restarts"]
    _, first, second, *_ = RESTART.finditer(jpeg)
    shorter = jpeg[: first.start()] + jpeg[second.start() :]
    with pytest.raises(ImageDamaged, match="parts are missing or out of order"):
        result_of(shorter)
    assert result_of(shorter, damaged="keep").warnings


def test_the_height_may_come_after_the_first_scan() -> None:
    jpeg = KINDS["sequential"]
    height = jpeg.index(b"\xff\xc0") + 5
    lines = b"\xff\xdc" + struct.pack(">HH", 4, SIZE[1])
    late = jpeg[:height] + bytes(2) + jpeg[height + 2 : -2] + lines + jpeg[-2:]
    assert mean_difference(decoded(late), decoded(jpeg)) == 0


def test_a_jpeg_of_12_bits_is_not_supported_rather_than_damaged() -> None:
    jpeg = KINDS["gray"].replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c")
    with pytest.raises(ImageFormatNotSupported, match="gray, 12-bit, sequential"):
        result_of(jpeg)
