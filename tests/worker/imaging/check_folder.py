"""Compare results with the right images: ``python -m tests.worker.imaging.check_folder FOLDER``.

The file ``X.expected.png`` beside ``X`` is the right result for ``X``. An image that is refused as
not supported counts as right. The exit code is 1 if a result is wrong, or if an image with a right
result counts as damaged.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image

from services.common.errors import ImageDamaged, ImageError
from tests.worker.imaging.formats.recipes import decoded, mean_difference

_EXPECTED: Final = ".expected.png"
_TOLERANCE: Final = 1.0
"""Mean difference of the samples, of 255."""


def main(folder: Path) -> int:
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".md"]
    images = [path for path in files if not path.name.endswith(_EXPECTED)]
    wrong = list(_wrong(images))
    for line in wrong:
        print(line)
    print(f"{len(images)} images, {len(wrong)} wrong")
    return 1 if wrong else 0


def _wrong(images: list[Path]) -> Iterator[str]:
    for path in images:
        expected = path.with_name(path.name + _EXPECTED)
        try:
            image = decoded(path.read_bytes())
        except ImageError as error:
            if expected.exists() and isinstance(error, ImageDamaged):
                yield f"{path.name}: {error}"
            continue
        if expected.exists():
            right = Image.open(expected).convert("RGBA")
            if image.size != right.size or mean_difference(image, right) > _TOLERANCE:
                yield f"{path.name}: another image"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
