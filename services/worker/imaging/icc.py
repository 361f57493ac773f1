"""Making ICC profiles of what files say about color without one: chromaticities, a gamma, or the
code points of video.

The layout is that of ICC.1:2022. The numbers of the color spaces are those of ITU-T H.273.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from services.common.errors import ImageFormatNotSupported

Chromaticity: TypeAlias = tuple[float, float]
"""x and y in the CIE 1931 diagram."""
Vector: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = tuple[Vector, Vector, Vector]
"""Three rows."""


class Primaries(NamedTuple):
    white: Chromaticity
    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity


_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)
_P3: Final = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_SMPTE: Final = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

SRGB_PRIMARIES: Final = Primaries(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

_PRIMARIES: Final[Mapping[int, Primaries]] = {
    1: SRGB_PRIMARIES,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries(_D65, *_SMPTE),
    7: Primaries(_D65, *_SMPTE),
    8: Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Primaries((0.314, 0.351), *_P3),
    12: Primaries(_D65, *_P3),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""ColourPrimaries (ITU-T H.273, table 2)."""

_UNSPECIFIED: Final = 2
_SRGB_CURVES: Final = frozenset({1, 6, 7, 11, 13, 14, 15})
"""TransferCharacteristics (ITU-T H.273, table 3) of sRGB and of cameras for standard range. The
latter describe the camera, not the display; browsers show them like sRGB."""
_GAMMAS: Final[Mapping[int, float]] = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_PQ: Final = 16
_HLG: Final = 18

_SDR_WHITE: Final = 203.0
"""Luminance of white in the standard range, in cd/m² (ITU-R BT.2408, 2.1). Brighter parts of an
image with a high dynamic range become white."""
_HLG_OF_SDR_WHITE: Final = 0.75
"""The HLG signal of the same white."""
_PQ_PEAK: Final = 10_000.0

_TABLE_POINTS: Final = 4096

_TO_EYE: Final[Matrix] = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)
"""Bradford's matrix (ICC.1:2022, annex E)."""
_D50: Final[Vector] = (0.9642, 1.0, 0.8249)

_HEADER_BYTES: Final = 128
_TAG_BYTES: Final = 12


def code_point_profile(primaries: int, transfer: int, *, is_gray: bool = False) -> bytes | None:
    """The profile of a color space of ITU-T H.273, or None for sRGB.

    What is unspecified or unknown counts as sRGB's. Raises ``ImageFormatNotSupported`` for curves
    that cannot be converted.
    """
    is_srgb_curve = transfer in _SRGB_CURVES or transfer == _UNSPECIFIED
    chromaticities = _PRIMARIES.get(primaries, SRGB_PRIMARIES)
    if is_srgb_curve and (is_gray or chromaticities == SRGB_PRIMARIES):
        return None
    curve = _SRGB_CURVE if is_srgb_curve else _curve(transfer)
    return gray_profile(curve) if is_gray else rgb_profile(chromaticities, curve)


def rgb_profile(primaries: Primaries, curve: bytes) -> bytes:
    """Raises ``ValueError`` if no color space has these chromaticities."""
    red, green, blue = zip(*_to_d50(primaries), strict=True)
    return _profile(
        b"RGB ",
        {
            b"wtpt": _xyz(_D50),
            b"rXYZ": _xyz(red),
            b"gXYZ": _xyz(green),
            b"bXYZ": _xyz(blue),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        },
    )


def gray_profile(curve: bytes) -> bytes:
    return _profile(b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": curve})


def gamma_curve(gamma: float) -> bytes:
    """The curve of samples that are the light to the power of 1/``gamma``."""
    return _parametric_curve(0, gamma)


def _curve(transfer: int) -> bytes:
    if transfer in _GAMMAS:
        return gamma_curve(_GAMMAS[transfer])
    if transfer == _PQ:
        return _table(_pq_light)
    if transfer == _HLG:
        return _table(_hlg_light)
    raise ImageFormatNotSupported(
        f"The image has transfer characteristics {transfer} (ITU-T H.273), which are not supported."
    )


def _pq_light(signal: float) -> float:
    """Relative to white of the standard range (SMPTE ST 2084)."""
    root = signal ** (32 / 2523)
    light = max(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)
    return _PQ_PEAK / _SDR_WHITE * math.pow(light, 8192 / 1305)


def _hlg_light(signal: float) -> float:
    """Relative to white of the standard range (ITU-R BT.2100, table 5)."""

    def scene(value: float) -> float:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return value**2 / 3 if value <= 0.5 else (math.exp((value - c) / a) + b) / 12  # noqa: PLR2004

    return scene(signal) / scene(_HLG_OF_SDR_WHITE)


def _table(light: Callable[[float], float]) -> bytes:
    points = [min(light(index / (_TABLE_POINTS - 1)), 1) for index in range(_TABLE_POINTS)]
    values = [round(point * 65535) for point in points]
    return struct.pack(f">4sII{len(values)}H", b"curv", 0, len(values), *values)


def _parametric_curve(kind: int, *parameters: float) -> bytes:
    values = [round(parameter * 65536) for parameter in parameters]
    return struct.pack(f">4sIHH{len(values)}i", b"para", 0, kind, 0, *values)


_SRGB_CURVE: Final = _parametric_curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""IEC 61966-2-1."""


# ── From chromaticities to the profile's connection space ─────────────────────────────────────


def _to_d50(primaries: Primaries) -> Matrix:
    """The matrix from linear RGB to XYZ, adapted to the white D50 of ICC."""
    white = _xyz_of(primaries.white)
    columns = [_xyz_of(primary) for primary in primaries[1:]]
    to_xyz = _transposed((columns[0], columns[1], columns[2]))
    amounts = _applied(_inverse(to_xyz), white)
    scaled = _product(to_xyz, _diagonal(amounts))
    eye_white, eye_d50 = _applied(_TO_EYE, white), _applied(_TO_EYE, _D50)
    ratios = tuple(target / source for source, target in zip(eye_white, eye_d50, strict=True))
    adaptation = _product(_inverse(_TO_EYE), _product(_diagonal(_vector(ratios)), _TO_EYE))
    return _product(adaptation, scaled)


def _xyz_of(chromaticity: Chromaticity) -> Vector:
    x, y = chromaticity
    if y <= 0:
        raise ValueError("A chromaticity has no luminance.")
    return x / y, 1.0, (1 - x - y) / y


def _vector(values: Sequence[float]) -> Vector:
    one, two, three = values
    return one, two, three


def _matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    one, two, three = map(_vector, rows)
    return one, two, three


def _diagonal(values: Vector) -> Matrix:
    return (values[0], 0.0, 0.0), (0.0, values[1], 0.0), (0.0, 0.0, values[2])


def _transposed(matrix: Matrix) -> Matrix:
    return _matrix(list(zip(*matrix, strict=True)))


def _applied(matrix: Matrix, vector: Vector) -> Vector:
    return _vector([sum(map(float.__mul__, row, vector)) for row in matrix])


def _product(left: Matrix, right: Matrix) -> Matrix:
    return _transposed(_matrix([_applied(left, column) for column in _transposed(right)]))


def _inverse(matrix: Matrix) -> Matrix:
    """Raises ``ValueError`` for a singular matrix. By the cross products of its rows."""
    a, b, c = matrix
    crosses = _matrix([_cross(b, c), _cross(c, a), _cross(a, b)])
    determinant = sum(map(float.__mul__, a, crosses[0]))
    if abs(determinant) < 1e-9:  # noqa: PLR2004
        raise ValueError("The primaries lie on a line.")
    return _transposed(_matrix([[value / determinant for value in row] for row in crosses]))


def _cross(one: Vector, other: Vector) -> Vector:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


# ── The file ──────────────────────────────────────────────────────────────────────────────────


def _xyz(values: Sequence[float]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(value * 65536) for value in values))


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A display profile with these tags (ICC.1:2022, 7.2 and 7.3)."""
    offset = _HEADER_BYTES + 4 + _TAG_BYTES * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for signature, data in tags.items():
        table += struct.pack(">4sII", signature, offset + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = offset + len(content)
    header = struct.pack(">I4xI4s4s4s", size, 0x04300000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return header.ljust(_HEADER_BYTES, b"\0") + table + content
