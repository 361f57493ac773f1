"""From whatever a file holds to what operations work on: sRGB, 8 bits a channel.

The working modes are L, LA, RGB and RGBA.
"""

import functools
from io import BytesIO
from typing import Final, cast

from PIL import Image, ImageCms

WORKING_MODES: Final = frozenset({"L", "LA", "RGB", "RGBA"})

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))

_REMEMBERED_TRANSFORMS: Final = 16
_REMEMBERED_PROFILE_BYTES: Final = 32_768
"""A camera's profile comes again with its next image, and to make a transform of it takes 4 ms,
as long as a small image. Profiles of 600 bytes to 4 KB are usual; larger ones, which a stranger
could fill the memory with, are not remembered."""

_TO_WORKING_MODE: Final = {
    "1": "L",
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}


def foreign_profile(image: Image.Image) -> bytes | None:
    """The image's ICC profile, when it has one that can be read and is not sRGB anyway."""
    if image.mode == "LAB":
        return _LAB.tobytes()
    icc = image.info.get("icc_profile")
    if not icc:
        return None
    try:
        description = ImageCms.ImageCmsProfile(BytesIO(icc)).profile.profile_description
    except (OSError, ValueError, TypeError):
        return None  # as browsers do: the image is shown as if it were sRGB
    return None if "sRGB" in (description or "") else bytes(icc)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in a working mode, through ``profile`` when there is one that fits it."""
    image = _eight_bits(image)
    if profile is not None:
        image = _through(profile, image)
    return image if image.mode in WORKING_MODES else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Without palette, color key, premultiplied alpha or more than 8 bits a channel."""
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I;16"):
        return _stretched(image.convert("I"), 0, 0xFFFF)
    if image.mode in {"I", "F"}:
        # 32-bit integers and floating point have no agreed white.
        lowest, highest = cast("tuple[float, float]", image.getextrema())
        return _stretched(image, lowest, highest)
    if image.mode in {"L", "RGB"} and "transparency" in image.info:
        return image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    mode = _TO_WORKING_MODE.get(image.mode)
    return image if mode is None else image.convert(mode)


def _stretched(image: Image.Image, lowest: float, highest: float) -> Image.Image:
    """Mode L, with ``lowest`` black and ``highest`` white."""
    scale = 255 / (highest - lowest) if highest > lowest else 0
    return image.point(lambda sample: sample * scale - lowest * scale).convert("L")


def _through(profile: bytes, image: Image.Image) -> Image.Image:
    """Through the profile to sRGB. A profile that no transform of the image's own color space
    can be made of is ignored, as browsers ignore it."""
    try:
        if image.mode in {"L", "LA"}:
            return _gray_through(profile, image)
        if image.mode in WORKING_MODES:
            return _transform(profile, image.mode).apply_in_place(image)
        return _transform(profile, image.mode, "RGB").apply(image)
    except ImageCms.PyCMSError:
        return image


def _gray_through(profile: bytes, image: Image.Image) -> Image.Image:
    """By a table of the 256 grays: sRGB has no gray mode to transform a whole image into."""
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = _transform(profile, "L", "RGB").apply(ramp)
    gray = image.getchannel("L").point(table.getchannel("G").tobytes())
    return Image.merge("LA", (gray, image.getchannel("A"))) if image.mode == "LA" else gray


def _transform(profile: bytes, mode: str, to_mode: str | None = None) -> ImageCms.ImageCmsTransform:
    remember = len(profile) <= _REMEMBERED_PROFILE_BYTES
    make = _remembered_transform if remember else _remembered_transform.__wrapped__
    return make(profile, mode, to_mode or mode)


@functools.lru_cache(maxsize=_REMEMBERED_TRANSFORMS)
def _remembered_transform(profile: bytes, mode: str, to_mode: str) -> ImageCms.ImageCmsTransform:
    """Raises ``PyCMSError`` when profile and mode do not fit each other, or make no sense."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    return ImageCms.buildTransform(source, _SRGB, mode, to_mode)
