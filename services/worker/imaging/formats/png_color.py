"""The color space that a PNG names: cICP, iCCP, sRGB, gAMA and cHRM, in this order (4.3).

Sections are those of "Portable Network Graphics (PNG) Specification (Third Edition)" (W3C).
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

from services.common.errors import ImageFormatNotSupported
from services.worker.imaging import icc

_MAX_PROFILE_BYTES: Final = 8_000_000
"""Unpacked. The largest profiles, of presses, have about 3 MB."""

_SCALE: Final = 100_000
"""Of the numbers in gAMA and cHRM (11.3.2.1, 11.3.2.2)."""
_SRGB_GAMMA: Final = 0.45455
_GAMMA_TOLERANCE: Final = 0.005
_XY_TOLERANCE: Final = 0.002
_PLAUSIBLE_GAMMAS: Final = (0.1, 10.0)


def color_profile(chunks: Mapping[bytes, bytes], *, is_gray: bool) -> bytes | None:
    """The profile of the pixels, or None for sRGB. Ignores fields that make no sense.

    Raises ``ImageFormatNotSupported`` for video levels and curves that cannot be converted.
    """
    if len(chunks.get(b"cICP", b"")) == 4:
        return _of_code_points(*chunks[b"cICP"], is_gray=is_gray)
    if profile := _unpacked_profile(chunks.get(b"iCCP", b"")):
        return profile
    if b"sRGB" in chunks:
        return None
    return _of_gamma(chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b""), is_gray=is_gray)


def _of_code_points(
    primaries: int, transfer: int, matrix: int, full_range: int, *, is_gray: bool
) -> bytes | None:
    if matrix or not full_range:
        raise ImageFormatNotSupported("The PNG has video levels, which are not supported.")
    return icc.code_point_profile(primaries, transfer, is_gray=is_gray)


def _unpacked_profile(data: bytes) -> bytes | None:
    """The profile in iCCP (11.3.2.3): a name, a zero, the compression method 0, packed data."""
    _, _, rest = data.partition(b"\0")
    if not rest.startswith(b"\0"):
        return None
    try:
        return zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE_BYTES) or None
    except zlib.error:
        return None


def _of_gamma(gama: bytes, chrm: bytes, *, is_gray: bool) -> bytes | None:
    if len(gama) != 4:
        return None
    gamma = int.from_bytes(gama) / _SCALE
    if not _PLAUSIBLE_GAMMAS[0] <= gamma <= _PLAUSIBLE_GAMMAS[1]:
        return None
    primaries = icc.SRGB_PRIMARIES
    if len(chrm) == 32 and not is_gray:
        primaries = _primaries(chrm)
    if abs(gamma - _SRGB_GAMMA) < _GAMMA_TOLERANCE and _is_srgb(primaries):
        return None
    curve = icc.gamma_curve(1 / gamma)
    try:
        return icc.gray_profile(curve) if is_gray else icc.rgb_profile(primaries, curve)
    except (ValueError, struct.error):
        return None


def _primaries(chrm: bytes) -> icc.Primaries:
    values = [value / _SCALE for value in struct.unpack(">8I", chrm)]
    return icc.Primaries(*zip(values[::2], values[1::2], strict=True))


def _is_srgb(primaries: icc.Primaries) -> bool:
    return all(
        abs(value - expected) < _XY_TOLERANCE
        for point, expected_point in zip(primaries, icc.SRGB_PRIMARIES, strict=True)
        for value, expected in zip(point, expected_point, strict=True)
    )
