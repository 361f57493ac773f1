"""Counting the scans of a JPEG without counting bytes that only look like scans."""

import pytest

from services.worker.imaging.jpeg_scans import has_more_scans_than
from tests.worker.imaging.sample_images import (
    PHOTOGRAPHS,
    file_of,
    gradient,
    jpeg_with_scans,
    opened,
)

LOOKS_LIKE_SCANS = b"\xff\xda" * 200


def test_all_scans_are_counted() -> None:
    jpeg = jpeg_with_scans(40)
    assert has_more_scans_than(jpeg, 39)
    assert not has_more_scans_than(jpeg, 40)


def test_encoders_write_at_most_ten_scans() -> None:
    for path in PHOTOGRAPHS:
        image = opened(path.read_bytes()).convert("RGB")
        assert not has_more_scans_than(file_of(image, "jpeg", progressive=True), 10)
        assert not has_more_scans_than(file_of(image, "jpeg"), 1)


@pytest.mark.parametrize("metadata", ["exif", "icc_profile", "comment", "xmp"])
def test_metadata_is_not_counted(metadata: str) -> None:
    assert not has_more_scans_than(file_of(gradient(), "jpeg", **{metadata: LOOKS_LIKE_SCANS}), 1)


def test_bytes_after_the_end_of_the_image_are_not_counted() -> None:
    file = file_of(gradient(), "jpeg") + bytes(2) + jpeg_with_scans(40)
    assert not has_more_scans_than(file, 1)


@pytest.mark.parametrize(
    "before",
    [
        b"\xff\x01\x00\x40",  # TEM has no length
        b"\xff\xd3\x00\x40",  # a restart marker has no length
        b"\xff\x00\x00\x40",  # a stuffed byte
        b"\xff\xff\xff",  # fill bytes
        b"\xff\xfe\x00\x00",  # a comment shorter than its length field
        b"garbage",
    ],
)
def test_a_scan_after_skipped_bytes_is_counted(before: bytes) -> None:
    jpeg = jpeg_with_scans(40)
    last = jpeg.rindex(b"\xff\xda")
    assert has_more_scans_than(jpeg[:last] + before + jpeg[last:], 39)


def test_the_scans_of_a_truncated_file_are_counted() -> None:
    jpeg = jpeg_with_scans(40)
    assert has_more_scans_than(jpeg[: jpeg.rindex(b"\xff\xda") + 2], 39)
