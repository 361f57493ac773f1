"""Format and quality of the result."""

from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

Format: TypeAlias = Literal["jpeg", "png", "webp", "avif", "gif", "tiff", "bmp"]
"""Formats of inputs, which are detected by content, and of results."""

FORMATS: Final[tuple[Format, ...]] = get_args(Format)

CONTENT_TYPES: Final[dict[Format, str]] = {name: f"image/{name}" for name in FORMATS}
"""IANA has registered all seven under these names."""

DEFAULT_QUALITY: Final[dict[Format, int]] = {"jpeg": 85, "webp": 80, "avif": 65}
"""The formats with a quality setting, each on its encoder's scale. At these values, a photograph is
hard to tell from the original and well below half its size."""


class Output(BaseModel):
    """Format and quality of the result. Metadata of the input is not copied."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Annotated[
        Format | None,
        Field(
            description="Default: the format of the input if it can hold the result, otherwise "
            "JPEG for an opaque image from a lossy format and PNG for any other."
        ),
    ] = None
    quality: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="Default: "
            + ", ".join(f"{quality} for {name}" for name, quality in DEFAULT_QUALITY.items())
            + ". Other formats have no quality.",
        ),
    ] = None
