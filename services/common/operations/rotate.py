from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from services.common.operations.base import ImageOperation, Size

if TYPE_CHECKING:
    from PIL.Image import Image


class Rotate(ImageOperation):
    """Turn the image clockwise by a quarter, a half or three quarters."""

    name: Literal["rotate"] = "rotate"
    degrees: Annotated[Literal[90, 180, 270], Field(description="Clockwise.")]

    def result_size(self, size: Size) -> Size:
        width, height = size
        return size if self.degrees == 180 else (height, width)  # noqa: PLR2004 - a half turn

    def apply(self, image: "Image", size: Size) -> "Image":
        from PIL.Image import Transpose

        counterclockwise = {
            90: Transpose.ROTATE_270,
            180: Transpose.ROTATE_180,
            270: Transpose.ROTATE_90,
        }
        return image.transpose(counterclockwise[self.degrees])
