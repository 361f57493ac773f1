"""The comparison of a folder of images with their right results."""

from pathlib import Path

import pytest
from PIL import Image

from tests.worker.imaging.check_folder import main
from tests.worker.imaging.sample_images import file_of, gradient


def test_only_wrong_results_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = gradient("RGB")
    for name, expected in (("good.png", right), ("bad.png", Image.new("RGB", right.size))):
        (tmp_path / name).write_bytes(file_of(right, "png"))
        expected.save(tmp_path / f"{name}.expected.png")
    (tmp_path / "raw.cr3").write_bytes(b"\0\0\0\x14ftypcrx \0\0\0\0crx ")
    assert main(tmp_path) == 1
    assert capsys.readouterr().out == "bad.png: another image\n3 images, 1 wrong\n"
