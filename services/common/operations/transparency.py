from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = "white"
"""Replaces transparency where the result cannot be transparent."""


def flatten(image: "Image") -> "Image":
    """The image without an alpha channel, on a ``BACKGROUND``."""
    from PIL import Image

    opaque_modes = {"LA": "L", "RGBA": "RGB"}
    if image.mode not in opaque_modes:
        return image
    flat = Image.new(opaque_modes[image.mode], image.size, BACKGROUND)
    flat.paste(image, mask=image.getchannel("A"))
    return flat
