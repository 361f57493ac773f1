from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from services.common.operations.base import ImageOperation, Size

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE: Final = 65_500
"""The longest side of a JPEG, in pixels: ``JPEG_MAX_DIMENSION`` of libjpeg."""

REDUCING_GAP: Final = 3.0
"""Shrink cheaply to three times the target size before resampling. From 3.0 on, the result is "very
close to fair resampling" ("Image.resize", Pillow documentation)."""

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Resize(ImageOperation):
    """Change the size. Images are only enlarged if ``enlarge`` is true."""

    name: Literal["resize"] = "resize"
    width: Annotated[
        Side | None, Field(description="In pixels. With `fit`, width or height may be omitted.")
    ] = None
    height: Annotated[Side | None, Field(description="In pixels.")] = None
    mode: Annotated[
        Literal["fit", "fill", "exact"],
        Field(
            description="`fit`: the largest size that fits into width by height; keeps the aspect "
            "ratio. `fill`: exactly width by height; keeps the aspect ratio and crops both ends "
            "equally. `exact`: exactly width by height; ignores the aspect ratio."
        ),
    ] = "fit"
    enlarge: Annotated[
        bool,
        Field(
            description="If false, an image that is too small keeps its size with `fit`, is only "
            "cropped to the aspect ratio with `fill`, and keeps each side that is too short with "
            "`exact`."
        ),
    ] = False

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if self.width is None and self.height is None:
            raise ValueError("give width, height or both")
        if self.mode != "fit" and (self.width is None or self.height is None):
            raise ValueError(f"mode {self.mode} needs both width and height")
        return self

    def result_size(self, size: Size) -> Size:
        width, height = size
        target_width, target_height = self.width, self.height
        if target_width is None or target_height is None or self.mode == "fit":
            scale = min(
                target_width / width if target_width else float("inf"),
                target_height / height if target_height else float("inf"),
            )
            if not self.enlarge:
                scale = min(scale, 1)
            return max(1, round(width * scale)), max(1, round(height * scale))
        if self.enlarge:
            return target_width, target_height
        if self.mode == "fill":
            scale = min(1, width / target_width, height / target_height)
            return max(1, round(target_width * scale)), max(1, round(target_height * scale))
        return min(target_width, width), min(target_height, height)

    def apply(self, image: "Image", size: Size) -> "Image":
        from PIL import Image

        if size == image.size:
            return image
        # Without premultiplied alpha, the color of transparent pixels bleeds into the edges.
        premultiplied = {"LA": "La", "RGBA": "RGBa"}.get(image.mode, image.mode)
        resized = image.convert(premultiplied).resize(
            size, Image.Resampling.LANCZOS, self._crop_box(image.size, size), REDUCING_GAP
        )
        return resized.convert(image.mode)

    def _crop_box(self, size: Size, target: Size) -> tuple[float, float, float, float]:
        """The part of the image to keep: left, top, right, bottom."""
        width, height = size
        if self.mode != "fill":
            return 0, 0, width, height
        scale = max(target[0] / width, target[1] / height)
        crop_width = min(width, target[0] / scale)  # rounding must not go past the edge
        crop_height = min(height, target[1] / scale)
        left, top = (width - crop_width) / 2, (height - crop_height) / 2
        return left, top, left + crop_width, top + crop_height
