from typing import TYPE_CHECKING, Literal

from services.common.operations.base import PictureOperation, Size
from services.common.operations.transparency import flatten

if TYPE_CHECKING:
    from PIL.Image import Image


class Grayscale(PictureOperation):
    """Make a true one-channel picture. Transparent parts are laid on white first."""

    name: Literal["grayscale"] = "grayscale"

    def apply(self, image: "Image", size: Size) -> "Image":
        if image.mode == "L":
            return image
        return flatten(image).convert("L")  # luma of ITU-R BT.601, as in JPEG itself
