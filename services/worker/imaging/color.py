"""Converting decoded images to the form that operations expect: sRGB with 8 bits per channel.

The working modes are L, LA, RGB and RGBA.
"""

import functools
from io import BytesIO
from typing import Final, cast

from PIL import Image, ImageCms

WORKING_MODES: Final = frozenset({"L", "LA", "RGB", "RGBA"})

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))

_CACHED_TRANSFORMS: Final = 16
_MAX_CACHED_PROFILE_BYTES: Final = 32_768
"""All images of a camera have the same profile, and building its transform takes 4 ms, as long as
a small image. Most profiles have 600 bytes to 4 KB. Larger ones are not cached, so that a client
cannot fill the memory."""

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
    """The image's ICC profile, or None if it is missing, unreadable or sRGB."""
    if image.mode == "LAB":
        return _LAB.tobytes()
    icc = image.info.get("icc_profile")
    if not icc:
        return None
    try:
        description = ImageCms.ImageCmsProfile(BytesIO(icc)).profile.profile_description
    except (OSError, ValueError, TypeError):
        return None  # like browsers, which then assume sRGB
    return None if "sRGB" in (description or "") else bytes(icc)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in a working mode, converted by ``profile`` if it has one that matches its mode."""
    image = _to_eight_bits(image)
    if profile is not None:
        image = _apply_profile(profile, image)
    return image if image.mode in WORKING_MODES else image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits per channel, without palette, color key or premultiplied alpha."""
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I;16"):
        return _scaled(image.convert("I"), 0, 0xFFFF)
    if image.mode in {"I", "F"}:
        # No standard says which 32-bit or floating-point value is white.
        lowest, highest = cast("tuple[float, float]", image.getextrema())
        return _scaled(image, lowest, highest)
    if image.mode in {"L", "RGB"} and "transparency" in image.info:
        return image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    mode = _TO_WORKING_MODE.get(image.mode)
    return image if mode is None else image.convert(mode)


def _scaled(image: Image.Image, lowest: float, highest: float) -> Image.Image:
    """The image in mode L, where ``lowest`` is black and ``highest`` is white."""
    scale = 255 / (highest - lowest) if highest > lowest else 0
    return image.point(lambda sample: sample * scale - lowest * scale).convert("L")


def _apply_profile(profile: bytes, image: Image.Image) -> Image.Image:
    """Convert the image to sRGB. Like browsers, ignore a profile of another color space."""
    try:
        if image.mode in {"L", "LA"}:
            return _apply_gray_profile(profile, image)
        if image.mode in WORKING_MODES:
            return _transform(profile, image.mode).apply_in_place(image)
        return _transform(profile, image.mode, "RGB").apply(image)
    except ImageCms.PyCMSError:
        return image


def _apply_gray_profile(profile: bytes, image: Image.Image) -> Image.Image:
    """Convert by a table of the 256 grays, because a transform to sRGB has no gray output."""
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = _transform(profile, "L", "RGB").apply(ramp)
    gray = image.getchannel("L").point(table.getchannel("G").tobytes())
    return Image.merge("LA", (gray, image.getchannel("A"))) if image.mode == "LA" else gray


def _transform(profile: bytes, mode: str, to_mode: str | None = None) -> ImageCms.ImageCmsTransform:
    is_cacheable = len(profile) <= _MAX_CACHED_PROFILE_BYTES
    build = _cached_transform if is_cacheable else _cached_transform.__wrapped__
    return build(profile, mode, to_mode or mode)


@functools.lru_cache(maxsize=_CACHED_TRANSFORMS)
def _cached_transform(profile: bytes, mode: str, to_mode: str) -> ImageCms.ImageCmsTransform:
    """Raises ``PyCMSError`` when the profile is invalid or does not match the mode."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    return ImageCms.buildTransform(source, _SRGB, mode, to_mode)
