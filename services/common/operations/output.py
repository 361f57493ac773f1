"""How the result is written: its format and quality."""

from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

Format: TypeAlias = Literal["jpeg", "png", "webp", "avif", "gif", "tiff", "bmp"]
"""Accepted as input by content, and writable as output."""

FORMATS: Final[tuple[Format, ...]] = get_args(Format)

CONTENT_TYPES: Final[dict[Format, str]] = {name: f"image/{name}" for name in FORMATS}
"""All seven are registered with IANA under exactly these names."""

FORMATS_WITH_QUALITY: Final[frozenset[Format]] = frozenset({"jpeg", "webp", "avif"})


class Output(BaseModel):
    """Format and quality of the result. Metadata of the input is never carried over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Annotated[
        Format | None,
        Field(
            description="Without it: the input's own format where that can hold the result, else "
            "JPEG for an opaque picture from a lossy format and PNG for any other."
        ),
    ] = None
    quality: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="For JPEG, WebP and AVIF. Without it: 85 for JPEG, 80 for WebP, "
            "65 for AVIF.",
        ),
    ] = None
