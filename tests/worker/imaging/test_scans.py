"""Scans of a JPEG: all of them, and nothing that only looks like one."""

import pytest

from services.worker.imaging.scans import has_more_scans
from tests.worker.imaging.sample_images import (
    PHOTOGRAPHS,
    file_of,
    gradient,
    jpeg_with_scans,
    opened,
)

LOOKS_LIKE_SCANS = b"\xff\xda" * 200


def test_the_scans_of_a_jpeg_are_counted() -> None:
    jpeg = jpeg_with_scans(40)
    assert has_more_scans(jpeg, 39)
    assert not has_more_scans(jpeg, 40)


def test_encoders_write_few() -> None:
    for path in PHOTOGRAPHS:
        image = opened(path.read_bytes()).convert("RGB")
        assert not has_more_scans(file_of(image, "jpeg", progressive=True), 10)
        assert not has_more_scans(file_of(image, "jpeg"), 1)


@pytest.mark.parametrize("metadata", ["exif", "icc_profile", "comment", "xmp"])
def test_metadata_is_skipped(metadata: str) -> None:
    assert not has_more_scans(file_of(gradient(), "jpeg", **{metadata: LOOKS_LIKE_SCANS}), 1)


def test_what_follows_the_image_is_none_of_it() -> None:
    assert not has_more_scans(file_of(gradient(), "jpeg") + bytes(2) + jpeg_with_scans(40), 1)


@pytest.mark.parametrize(
    "before",
    [
        b"\xff\x01\x00\x40",  # TEM has no length
        b"\xff\xd3\x00\x40",  # neither has a restart
        b"\xff\x00\x00\x40",  # a stuffed byte
        b"\xff\xff\xff",  # fill bytes
        b"\xff\xfe\x00\x00",  # a comment shorter than its own length
        b"garbage",
    ],
)
def test_no_scan_hides_behind_what_is_skipped(before: bytes) -> None:
    jpeg = jpeg_with_scans(40)
    last = jpeg.rindex(b"\xff\xda")
    assert has_more_scans(jpeg[:last] + before + jpeg[last:], 39)


def test_a_file_that_ends_early_has_the_scans_that_are_there() -> None:
    jpeg = jpeg_with_scans(40)
    assert has_more_scans(jpeg[: jpeg.rindex(b"\xff\xda") + 2], 39)
