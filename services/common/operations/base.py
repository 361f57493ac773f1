"""What every operation is: a name, parameters, and what they do to an image."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from PIL.Image import Image

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


def _require_name(schema: dict[str, Any]) -> None:
    """Optional in Python, where the class says it; never in JSON, where nothing else does."""
    schema["properties"]["name"].pop("default")
    schema["required"] = ["name", *schema.get("required", [])]


class ImageOperation(BaseModel, ABC):
    """One step of a task, as a client writes it: ``{"name": …, parameters}``.

    A subclass makes ``name`` a literal and adds its parameters; its docstring is what the catalogue
    tells clients. Pillow is imported inside methods only, because the API has none.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra=_require_name
    )

    name: str

    def result_size(self, size: Size) -> Size:
        """The size this makes of an image of ``size``; known before anything is decoded, so
        that the caps on pixels can be checked first."""
        return size

    @abstractmethod
    def apply(self, image: "Image", size: Size) -> "Image":
        """The changed image; ``image`` itself when there is nothing to do.

        ``image`` is upright, in sRGB, and of mode L, LA, RGB or RGBA, 8 bits a channel; so is
        what is returned. ``size`` is what ``result_size`` made of the whole image's size:
        ``image`` has fewer pixels when its decoder was told to leave some out.
        """
