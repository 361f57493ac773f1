from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from services.common.operations.base import ImageOperation, Size
from services.common.operations.output import Format

if TYPE_CHECKING:
    from PIL.Image import Image


class Convert(ImageOperation):
    """Write the result in another format. The same as ``format`` in the task's ``output``."""

    name: Literal["convert"] = "convert"
    format: Annotated[Format, Field(description="Format of the result.")]

    def apply(self, image: "Image", size: Size) -> "Image":
        return image  # takes effect when the result is encoded
