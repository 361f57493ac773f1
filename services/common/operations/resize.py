from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from services.common.operations.base import ImageOperation, Size

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE: Final = 65_500
"""The longest side a JPEG may have: libjpeg's ``JPEG_MAX_DIMENSION``."""

REDUCING_GAP: Final = 3.0
"""Shrink cheaply to three times the target before resampling; Pillow calls the result 'very
close to fair resampling' from 3.0 on (documentation of ``Image.resize``)."""

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Resize(ImageOperation):
    """Change the size. An image is never made larger unless ``enlarge`` is true."""

    name: Literal["resize"] = "resize"
    width: Annotated[
        Side | None, Field(description="Pixels. With `fit`, either side may be left out.")
    ] = None
    height: Annotated[Side | None, Field(description="Pixels.")] = None
    mode: Annotated[
        Literal["fit", "fill", "exact"],
        Field(
            description="`fit`: as large as fits into width by height, proportions kept. "
            "`fill`: width by height covered, proportions kept, the overhang cut off evenly. "
            "`exact`: width by height, proportions not kept."
        ),
    ] = "fit"
    enlarge: Annotated[
        bool,
        Field(
            description="When false, an image too small for `fit` keeps its size, for `fill` is "
            "only cut to the proportions, and for `exact` keeps its shorter sides."
        ),
    ] = False

    @model_validator(mode="after")
    def _sides_are_given(self) -> Self:
        if self.width is None and self.height is None:
            raise ValueError("give width, height or both")
        if self.mode != "fit" and (self.width is None or self.height is None):
            raise ValueError(f"mode {self.mode} needs both width and height")
        return self

    def result_size(self, size: Size) -> Size:
        width, height = size
        asked_width, asked_height = self.width, self.height
        if asked_width is None or asked_height is None or self.mode == "fit":
            scale = min(
                asked_width / width if asked_width else float("inf"),
                asked_height / height if asked_height else float("inf"),
            )
            if not self.enlarge:
                scale = min(scale, 1)
            return max(1, round(width * scale)), max(1, round(height * scale))
        if self.enlarge:
            return asked_width, asked_height
        if self.mode == "fill":
            scale = min(1, width / asked_width, height / asked_height)
            return max(1, round(asked_width * scale)), max(1, round(asked_height * scale))
        return min(asked_width, width), min(asked_height, height)

    def apply(self, image: "Image", size: Size) -> "Image":
        from PIL import Image

        if size == image.size:
            return image
        # Premultiplied alpha, or the hidden color of transparent pixels bleeds into the edges.
        premultiplied = {"LA": "La", "RGBA": "RGBa"}.get(image.mode, image.mode)
        resized = image.convert(premultiplied).resize(
            size, Image.Resampling.LANCZOS, self._kept(image.size, size), REDUCING_GAP
        )
        return resized.convert(image.mode)

    def _kept(self, size: Size, target: Size) -> tuple[float, float, float, float]:
        """The part of the image that stays: left, top, right, bottom."""
        width, height = size
        if self.mode != "fill":
            return 0, 0, width, height
        scale = max(target[0] / width, target[1] / height)
        kept_width = min(width, target[0] / scale)  # rounding must not reach beyond the edge
        kept_height = min(height, target[1] / scale)
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height
