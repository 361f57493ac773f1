"""What can be done to an image: the catalogue of operations, and how the result is written.

One file per operation: a frozen model of its parameters, and what it does. To add one, write its
file, and add its class to ``AnyOperation`` below. The API validates submissions
with these models and publishes their schemas; the worker reads stored rows with the same.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias, get_args

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
    "result_format",
]

AnyOperation: TypeAlias = Convert | Grayscale | Resize | Rotate

Operation: TypeAlias = Annotated[AnyOperation, Field(discriminator="name")]

OPERATIONS: Final[dict[str, type[ImageOperation]]] = {
    operation.model_fields["name"].default: operation for operation in get_args(AnyOperation)
}

DEFAULT_OPERATIONS: Final = (Grayscale(),)
"""What a submission of nothing but a URL means."""

MAX_OPERATIONS: Final = 10


class Recipe(BaseModel):
    """What to do to an image, in order, and how to write the result.

    The API's submission extends this; the worker reads a stored row with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: Annotated[
        list[Operation],
        Field(min_length=1, max_length=MAX_OPERATIONS, description="Done in this order."),
    ] = Field(default=list(DEFAULT_OPERATIONS))
    output: Annotated[Output | None, Field(description="How the result is written.")] = None

    @field_validator("operations")
    @classmethod
    def _operations_name_one_format(cls, operations: list[AnyOperation]) -> list[AnyOperation]:
        result_format(operations)
        return operations

    @field_validator("output")
    @classmethod
    def _output_agrees(cls, output: Output | None, info: ValidationInfo) -> Output | None:
        asked = result_format(info.data.get("operations", ()), output)
        has_quality = asked is None or asked in DEFAULT_QUALITY
        if output is not None and output.quality is not None and not has_quality:
            raise PydanticCustomError(
                "quality_without_meaning",
                "{format} is lossless and has no quality",
                {"format": asked},
            )
        return output


def result_format(
    operations: Sequence[ImageOperation], output: Output | None = None
) -> Format | None:
    """The format asked for, by ``convert`` or ``output``; ``None`` when neither names one.

    Raises a validation error when they name more than one.
    """
    asked = {operation.format for operation in operations if isinstance(operation, Convert)}
    if output is not None and output.format is not None:
        asked.add(output.format)
    if len(asked) > 1:
        raise PydanticCustomError(
            "conflicting_formats",
            "the result can have one format only, but convert and output.format ask for {formats}",
            {"formats": " and ".join(sorted(asked))},
        )
    return asked.pop() if asked else None


def catalogue() -> list[dict[str, Any]]:
    """Every operation with its name, what it does, and the JSON schema of its parameters."""
    return [
        {
            "name": name,
            "description": " ".join((operation.__doc__ or "").split()),
            "schema": operation.model_json_schema(),
        }
        for name, operation in sorted(OPERATIONS.items())
    ]
