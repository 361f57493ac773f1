from typing import TYPE_CHECKING, Literal

from services.common.operations.base import ImageOperation, Size
from services.common.operations.transparency import flatten

if TYPE_CHECKING:
    from PIL.Image import Image


class Grayscale(ImageOperation):
    """Convert to a one-channel image. Transparent parts become white."""

    name: Literal["grayscale"] = "grayscale"

    def apply(self, image: "Image", size: Size) -> "Image":
        if image.mode == "L":
            return image
        return flatten(image).convert("L")  # luma of ITU-R BT.601, as in JPEG
