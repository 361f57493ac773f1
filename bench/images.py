"""The source images of the benchmark."""

import shutil
from itertools import product
from pathlib import Path

from PIL import Image

from local.options import SAMPLES

SMALL, LARGE, TINY = "small.jpg", "large.jpg", "tiny.png"
LARGE_SIZE = (3840, 2160)


def write_images(folder: Path) -> None:
    """A photograph of 640 by 427 pixels (112 KB), one of 3840 by 2160, and a single pixel.

    The large one repeats a photograph at its own size: an enlarged one would have no detail.
    """
    folder.mkdir()
    shutil.copy(SAMPLES / "rocket.jpg", folder / SMALL)
    tile = Image.open(SAMPLES / "astronaut.png")
    large = Image.new("RGB", LARGE_SIZE)
    columns, rows = range(0, large.width, tile.width), range(0, large.height, tile.height)
    for corner in product(columns, rows):
        large.paste(tile, corner)
    large.save(folder / LARGE, quality=85)
    Image.new("RGB", (1, 1)).save(folder / TINY)
