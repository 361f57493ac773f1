"""Converting decoded images to the form that operations expect: sRGB with 8 bits per channel.

The working modes are L, LA, RGB and RGBA.
"""

import functools
from io import BytesIO
from itertools import product
from typing import Final

from PIL import Image, ImageChops, ImageCms

WORKING_MODES: Final = frozenset({"L", "LA", "RGB", "RGBA"})

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

_CACHED_PROFILES: Final = 16
_MAX_CACHED_PROFILE_BYTES: Final = 32_768
"""All images of a camera have the same profile, and building its transform takes 4 ms, as long as
a small image. Most profiles have 600 bytes to 4 KB. Larger ones are not cached, so that a client
cannot fill the memory."""

_LEVELS: Final = range(0, 256, 51)
_COLORS: Final = bytes(sample for color in product(_LEVELS, repeat=3) for sample in color)
"""Colors that tell whether a profile is sRGB: all combinations of six levels."""
_GRAYS: Final = bytes(range(256))
_SRGB_TOLERANCE: Final = 1
"""In levels of 255. Profiles of sRGB by different makers differ by this much."""

_TO_WORKING_MODE: Final = {
    "1": "L",
    "La": "LA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}


def foreign_profile(profile: bytes | None) -> bytes | None:
    """The profile, or None if it cannot be read or is that of sRGB.

    Its colors decide. The name proves nothing: "Linear sRGB" and "sRGB-elle-V4-g10" are others.
    """
    if profile is None:
        return None
    answer = _cached_is_srgb if len(profile) <= _MAX_CACHED_PROFILE_BYTES else _is_srgb
    return None if answer(profile) else profile


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in a working mode, converted by ``profile`` if it has one that matches its mode."""
    if image.mode == "LAB":
        profile = _LAB
    image = _to_eight_bits(image)
    if profile is not None:
        image = _apply_profile(profile, image)
    return image if image.mode in WORKING_MODES else image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits per channel, without palette or premultiplied alpha."""
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    mode = _TO_WORKING_MODE.get(image.mode)
    return image if mode is None else image.convert(mode)


def _is_srgb(profile: bytes) -> bool:
    try:
        space = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space.strip()
        if space == "RGB":
            colors = Image.frombytes("RGB", (len(_COLORS) // 3, 1), _COLORS)
            return _is_alike(colors, _transform(profile, "RGB", "RGB").apply(colors))
        if space == "GRAY":
            grays = Image.frombytes("L", (256, 1), _GRAYS)
            return _is_alike(grays.convert("RGB"), _transform(profile, "L", "RGB").apply(grays))
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return True  # like browsers, which then assume sRGB
    return False


def _is_alike(one: Image.Image, other: Image.Image) -> bool:
    extrema = ImageChops.difference(one, other).getextrema()
    return all(highest <= _SRGB_TOLERANCE for _, highest in extrema)  # type: ignore[misc]


def _apply_profile(profile: bytes, image: Image.Image) -> Image.Image:
    """Convert the image to sRGB. Like browsers, ignore a profile of another color space."""
    try:
        if image.mode in {"L", "LA"}:
            return _apply_gray_profile(profile, image)
        if image.mode in WORKING_MODES:
            return _transform(profile, image.mode, image.mode).apply_in_place(image)
        return _transform(profile, image.mode, "RGB").apply(image)
    except ImageCms.PyCMSError:
        return image


def _apply_gray_profile(profile: bytes, image: Image.Image) -> Image.Image:
    """Convert by a table of the 256 grays, because a transform to sRGB has no gray output."""
    ramp = Image.frombytes("L", (256, 1), _GRAYS)
    table = _transform(profile, "L", "RGB").apply(ramp)
    gray = image.getchannel("L").point(table.getchannel("G").tobytes())
    return Image.merge("LA", (gray, image.getchannel("A"))) if image.mode == "LA" else gray


def _transform(profile: bytes, mode: str, to_mode: str) -> ImageCms.ImageCmsTransform:
    """Raises ``PyCMSError`` when the profile is invalid or does not match the mode."""
    is_cacheable = len(profile) <= _MAX_CACHED_PROFILE_BYTES
    return (_cached_transform if is_cacheable else _build_transform)(profile, mode, to_mode)


def _build_transform(profile: bytes, mode: str, to_mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    return ImageCms.buildTransform(source, _SRGB, mode, to_mode)


_cached_is_srgb = functools.lru_cache(_CACHED_PROFILES)(_is_srgb)
_cached_transform = functools.lru_cache(_CACHED_PROFILES)(_build_transform)
