"""Reading the markers of a JPEG: bytes that only look like scans do not count."""

import pytest

from services.worker.imaging.formats.jpeg_markers import read_structure
from tests.worker.imaging.sample_images import (
    PHOTOGRAPHS,
    file_of,
    gradient,
    jpeg_with_scans,
    opened,
)

LOOKS_LIKE_SCANS = b"\xff\xda" * 200


def scans_of(jpeg: bytes) -> int:
    return len(read_structure(jpeg, max_scans=100).scans)


def test_all_scans_are_counted() -> None:
    assert scans_of(jpeg_with_scans(40)) == 40


def test_reading_stops_soon_after_the_limit() -> None:
    assert len(read_structure(jpeg_with_scans(40), max_scans=10).scans) == 11


def test_encoders_write_at_most_ten_scans() -> None:
    for path in PHOTOGRAPHS:
        image = opened(path.read_bytes()).convert("RGB")
        assert scans_of(file_of(image, "jpeg", progressive=True)) <= 10
        assert scans_of(file_of(image, "jpeg")) == 1


@pytest.mark.parametrize("metadata", ["exif", "icc_profile", "comment", "xmp"])
def test_metadata_is_not_counted(metadata: str) -> None:
    assert scans_of(file_of(gradient(), "jpeg", **{metadata: LOOKS_LIKE_SCANS})) == 1


def test_bytes_after_the_end_of_the_image_are_not_counted() -> None:
    file = file_of(gradient(), "jpeg") + bytes(2) + jpeg_with_scans(40)
    assert scans_of(file) == 1


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
    assert scans_of(jpeg[:last] + before + jpeg[last:]) == 40


def test_the_scans_of_a_truncated_file_are_counted() -> None:
    jpeg = jpeg_with_scans(40)
    assert scans_of(jpeg[: jpeg.rindex(b"\xff\xda") + 12]) == 40
