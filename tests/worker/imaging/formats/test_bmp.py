"""BMPs whose header and pixels contradict each other, or that lack rows."""

import pytest

from services.common.errors import ImageDamaged
from tests.worker.imaging.formats.recipes import decoded, mean_difference, result_of
from tests.worker.imaging.layouts.bmp_files import bmp
from tests.worker.imaging.layouts.chart import HEIGHT, WIDTH, chart
from tests.worker.imaging.sample_images import file_of, gradient

WITH_ALPHA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def test_alpha_that_is_zero_everywhere_is_ignored() -> None:
    content = chart("RGB").tobytes("raw", "BGRX")
    rows = [content[start : start + 4 * WIDTH] for start in range(0, len(content), 4 * WIDTH)]
    unset = [bytes(0 if at % 4 == 3 else value for at, value in enumerate(row)) for row in rows]
    image = decoded(bmp("V5", 32, unset, compression=3, masks=WITH_ALPHA))
    assert image.size == (WIDTH, HEIGHT)
    assert mean_difference(image, chart("RGB")) == 0


def test_missing_rows_are_refused_or_kept() -> None:
    half = file_of(gradient(), "bmp")[:2000]
    with pytest.raises(ImageDamaged, match=r"upper .* rows are missing"):
        result_of(half)
    assert result_of(half, damaged="keep").warnings
