"""How the result is written: its format and quality."""

from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

Format: TypeAlias = Literal["jpeg", "png", "webp", "avif", "gif", "tiff", "bmp"]
"""Accepted as input by content, and writable as output."""

FORMATS: Final[tuple[Format, ...]] = get_args(Format)

CONTENT_TYPES: Final[dict[Format, str]] = {name: f"image/{name}" for name in FORMATS}
"""All seven are registered with IANA under exactly these names."""

DEFAULT_QUALITY: Final[dict[Format, int]] = {"jpeg": 85, "webp": 80, "avif": 65}
"""The formats that have a quality at all, each on its own encoder's scale: hard to tell from the
original on photographs, at well below half its size."""


class Output(BaseModel):
    """Format and quality of the result. Metadata of the input is never carried over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Annotated[
        Format | None,
        Field(
            description="Without it: the input's own format where that can hold the result, else "
            "JPEG for an opaque image from a lossy format and PNG for any other."
        ),
    ] = None
    quality: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="Without it: "
            + ", ".join(f"{quality} for {name}" for name, quality in DEFAULT_QUALITY.items())
            + ". Other formats have none.",
        ),
    ] = None
