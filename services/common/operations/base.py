"""The base class of all operations."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from PIL.Image import Image

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


def _require_name(schema: dict[str, Any]) -> None:
    """Require ``name`` in JSON. In Python it is optional, because the class determines it."""
    schema["properties"]["name"].pop("default")
    schema["required"] = ["name", *schema.get("required", [])]


class ImageOperation(BaseModel, ABC):
    """One step of a task, which a client writes as ``{"name": …, parameters}``.

    A subclass makes ``name`` a literal and adds its parameters. Its docstring is the description in
    the catalogue. Methods import Pillow themselves, because the API's image does not contain it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra=_require_name
    )

    name: str

    def result_size(self, size: Size) -> Size:
        """The size of the result for an image of ``size``.

        It is known before decoding, so that the pixel limits can be checked first.
        """
        return size

    @abstractmethod
    def apply(self, image: "Image", size: Size) -> "Image":
        """The changed image, or ``image`` itself if nothing changes.

        ``image`` and the returned image are upright, in sRGB, and of mode L, LA, RGB or RGBA with 8
        bits per channel. ``size`` is the ``result_size`` for the full size of the source.
        ``image`` may have fewer pixels than the source, because decoders can scale down.
        """
