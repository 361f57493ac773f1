"""The catalogue of image operations, and the format of the result.

Each operation has a file with a frozen model of its parameters and the code that applies it. To add
one, write its file and add its class to ``AnyOperation`` below. The API validates submissions with
these models and publishes their schemas. The worker parses stored rows with them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from services.common.operations.base import ImageOperation, Size
from services.common.operations.convert import Convert
from services.common.operations.grayscale import Grayscale
from services.common.operations.output import (
    CONTENT_TYPES,
    DEFAULT_QUALITY,
    FORMATS,
    Format,
    Output,
)
from services.common.operations.resize import Resize
from services.common.operations.rotate import Rotate

__all__ = [
    "CONTENT_TYPES",
    "DEFAULT_OPERATIONS",
    "DEFAULT_QUALITY",
    "FORMATS",
    "MAX_OPERATIONS",
    "MAX_PAGE",
    "OPERATIONS",
    "Convert",
    "Format",
    "Grayscale",
    "ImageOperation",
    "Operation",
    "Output",
    "Recipe",
    "Resize",
    "Rotate",
    "Size",
    "catalogue",
    "computed_pixels",
    "result_format",
]

AnyOperation: TypeAlias = Convert | Grayscale | Resize | Rotate

Operation: TypeAlias = Annotated[AnyOperation, Field(discriminator="name")]

OPERATIONS: Final[dict[str, type[ImageOperation]]] = {
    operation.model_fields["name"].default: operation for operation in get_args(AnyOperation)
}

DEFAULT_OPERATIONS: Final = (Grayscale(),)
"""The operations of a submission that names none."""

MAX_OPERATIONS: Final = 10
MAX_PAGE: Final = 10_000


class Recipe(BaseModel):
    """How to read an image, the operations to apply in order, and the format of the result.

    The API's submission extends this model. The worker parses stored rows with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: Annotated[
        list[Operation],
        Field(min_length=1, max_length=MAX_OPERATIONS, description="Applied in this order."),
    ] = Field(default=list(DEFAULT_OPERATIONS))
    output: Annotated[Output | None, Field(description="Format and quality of the result.")] = None
    page: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_PAGE,
            description="Which page of a TIFF or frame of an animation to use. The default is the "
            "first. Thumbnails and smaller versions in a TIFF do not count.",
        ),
    ] = 1
    damaged: Annotated[
        Literal["refuse", "keep"],
        Field(
            description="What to do with an image that lacks pixels: fail the task with "
            "`image_damaged`, or make a result of the rest. `warnings` then says what is missing."
        ),
    ] = "refuse"

    @field_validator("operations")
    @classmethod
    def _check_operations(cls, operations: list[AnyOperation]) -> list[AnyOperation]:
        result_format(operations)
        return operations

    @field_validator("output")
    @classmethod
    def _check_output(cls, output: Output | None, info: ValidationInfo) -> Output | None:
        requested = result_format(info.data.get("operations", ()), output)
        has_quality = requested is None or requested in DEFAULT_QUALITY
        if output is not None and output.quality is not None and not has_quality:
            raise PydanticCustomError(
                "quality_without_meaning",
                "{format} is lossless and has no quality",
                {"format": requested},
            )
        return output


def computed_pixels(operations: Sequence[ImageOperation], sizes: Sequence[Size]) -> int:
    """The pixels that the operations compute in all. `sizes` has the size after each operation."""
    return sum(
        width * height
        for operation, (width, height) in zip(operations, sizes, strict=True)
        if not isinstance(operation, Convert)  # takes effect when the result is encoded
    )


def result_format(
    operations: Sequence[ImageOperation], output: Output | None = None
) -> Format | None:
    """The format that ``convert`` or ``output`` requests, or ``None`` if neither does.

    Raises a validation error if they request more than one.
    """
    requested = {operation.format for operation in operations if isinstance(operation, Convert)}
    if output is not None and output.format is not None:
        requested.add(output.format)
    if len(requested) > 1:
        raise PydanticCustomError(
            "conflicting_formats",
            "the result can have only one format, but convert and output.format request {formats}",
            {"formats": " and ".join(sorted(requested))},
        )
    return requested.pop() if requested else None


def catalogue() -> list[dict[str, Any]]:
    """Name, description and JSON schema of every operation."""
    return [
        {
            "name": name,
            "description": " ".join((operation.__doc__ or "").split()),
            "schema": operation.model_json_schema(),
        }
        for name, operation in sorted(OPERATIONS.items())
    ]
