"""A short run of `make fuzz`."""

import json

import pytest

from tests.fuzz.imaging import main


def test_damaged_images_crash_no_child_process(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "300", "--seed", "7"]) == 0
    figures = json.loads(capfd.readouterr().out)
    assert figures["malformed_images_tried"] == sum(figures["outcomes"].values()) == 300
    assert figures["outcomes"].keys() >= {"completed", "image_damaged", "image_too_large"}
    assert figures["workers_died"] == figures["over_deadline"] == 0
