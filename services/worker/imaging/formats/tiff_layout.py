"""How the pixels of a TIFF page are stored, by the fields of its directory.

The numbers are those of "TIFF Revision 6.0" (Adobe, 1992), of its Technical Notes, and of libtiff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.common.errors import ImageDamaged, ImageFormatNotSupported
from services.common.operations import Size
from services.worker.imaging.formats.layouts import Layout
from services.worker.imaging.formats.tiff_directory import Directory


class Tag:
    """The fields that describe pixels."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    MAKE = 271
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIGURATION = 284
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    YCBCR_POSITIONING = 531
    REFERENCE_BLACK_WHITE = 532
    ICC_PROFILE = 34675
    GDAL_NODATA = 42113
    DNG_VERSION = 50706


WHITE_IS_ZERO: Final = 0
BLACK_IS_ZERO: Final = 1
_COLORS: Final = {
    WHITE_IS_ZERO: ("gray", 1),
    BLACK_IS_ZERO: ("gray", 1),
    2: ("RGB", 3),
    3: ("palette", 1),
    5: ("CMYK", 4),
    6: ("YCbCr", 3),
    8: ("CIELAB", 3),
}
"""Name and number of the color channels, by PhotometricInterpretation."""
_OTHER_COLORS: Final = {
    4: "a transparency mask",
    9: "ICCLab",
    10: "ITULab",
    32803: "a color filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}

UNCOMPRESSED: Final = 1
JPEG: Final = 7
_LOSSLESS: Final = frozenset({UNCOMPRESSED, 5, 8, 32773, 32946, 34925, 50000})
"""None, LZW, Deflate, PackBits, the older Deflate, LZMA and Zstandard."""
_WITH_PREDICTOR: Final = frozenset({5, 8, 32946, 34925, 50000})
_FAX: Final = frozenset({2, 3, 4})
_OTHER_COMPRESSIONS: Final = {
    6: "JPEG compression of the old kind",
    32766: "NeXT compression",
    32809: "ThunderScan compression",
    33003: "JPEG 2000 compression",
    33005: "JPEG 2000 compression",
    34676: "LogLuv compression",
    34677: "LogLuv compression",
    34712: "JPEG 2000 compression",
    34887: "LERC compression",
    34892: "lossy JPEG compression",
    34933: "PNG compression",
    34934: "JPEG XR compression",
    50001: "WebP compression",
    50002: "JPEG XL compression",
}

_NO_PREDICTOR: Final = 1
DIFFERENCES: Final = 2
FLOAT_DIFFERENCES: Final = 3
"""Predictors ("TIFF Revision 6.0", section 14, and "TIFF Technical Note 3", Adobe)."""

_UNSIGNED: Final = 1
SIGNED: Final = 2
FLOAT: Final = 3
_SAMPLES: Final = {_UNSIGNED: "-bit", SIGNED: "-bit signed", FLOAT: "-bit float", 4: "-bit"}
"""By SampleFormat. 4 means undefined, and is read as unsigned."""

_ASSOCIATED_ALPHA: Final = 1
_UNASSOCIATED_ALPHA: Final = 2
_CMYK_INKS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """The storage of a page's pixels."""

    size: Size
    photometric: int
    color: str
    """A name in ``_COLORS``."""
    color_channels: int
    channels: int
    """Samples per pixel, alpha and channels without a meaning included."""
    alpha: int | None
    """Which channel is alpha."""
    is_premultiplied: bool
    bits: int
    sample_format: int
    """1 unsigned, 2 signed, 3 float."""
    compression: int
    predictor: int
    is_planar: bool
    """Each channel has its own strips or tiles."""
    tile: Size | None

    @property
    def layout(self) -> Layout:
        channels = self.color if self.alpha is None else f"{self.color} + alpha"
        samples = f"{self.bits}{_SAMPLES.get(self.sample_format, '-bit complex')}"
        if self.compression in _FAX:
            return Layout(channels, samples, "fax")
        if self.compression == JPEG:
            return Layout(channels, samples, "JPEG, planar" if self.is_planar else "JPEG")
        return Layout(channels, samples, "planar" if self.is_planar else "chunky")


def pixel_format(directory: Directory) -> PixelFormat:
    """Raises ``ImageDamaged``, ``ImageFormatNotSupported`` or ``MalformedTiff``."""
    compression = directory.integer(Tag.COMPRESSION, UNCOMPRESSED)
    if compression not in _LOSSLESS | _FAX | {JPEG}:
        raise not_supported(_OTHER_COMPRESSIONS.get(compression, f"compression {compression}"))
    photometric = directory.integer(Tag.PHOTOMETRIC, -1)
    if photometric not in _COLORS:
        raise not_supported(_OTHER_COLORS.get(photometric, "an unknown color space"))
    color, color_channels = _COLORS[photometric]
    channels = directory.integer(Tag.SAMPLES_PER_PIXEL, 1)
    if channels < color_channels:
        raise ImageDamaged("The TIFF has fewer channels than its color space needs.")
    if color == "CMYK" and directory.integer(Tag.INK_SET, _CMYK_INKS) != _CMYK_INKS:
        raise not_supported("inks other than CMYK")
    alpha, is_premultiplied = _alpha(directory, color_channels, channels)
    bits = _same(directory.integers(Tag.BITS_PER_SAMPLE) or (1,), "samples of different sizes")
    formats = directory.integers(Tag.SAMPLE_FORMAT) or (_UNSIGNED,)
    return PixelFormat(
        size=_size(directory, Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH),
        photometric=photometric,
        color=color,
        color_channels=color_channels,
        channels=channels,
        alpha=alpha,
        is_premultiplied=is_premultiplied,
        bits=bits,
        sample_format=_same(formats, "samples of different types"),
        compression=compression,
        predictor=_predictor(directory, compression, formats[0]),
        is_planar=channels > 1 and directory.integer(Tag.PLANAR_CONFIGURATION, 1) != 1,
        tile=_size(directory, Tag.TILE_WIDTH, Tag.TILE_LENGTH)
        if Tag.TILE_WIDTH in directory
        else None,
    )


def not_supported(what: str) -> ImageFormatNotSupported:
    return ImageFormatNotSupported(f"The image is a TIFF with {what}, which is not supported.")


def _alpha(directory: Directory, color_channels: int, channels: int) -> tuple[int | None, bool]:
    """Which channel is alpha, and whether the colors are multiplied by it.

    Without ExtraSamples, which the specification requires, a fourth channel of RGB is alpha, as in
    Pillow. Extra channels without a meaning, such as infrared, are ignored.
    """
    extra = directory.integers(Tag.EXTRA_SAMPLES)
    if Tag.EXTRA_SAMPLES not in directory and (color_channels, channels) == (3, 4):
        return 3, False
    for index, meaning in enumerate(extra[: channels - color_channels]):
        if meaning in {_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA}:
            return color_channels + index, meaning == _ASSOCIATED_ALPHA
    return None, False


def _predictor(directory: Directory, compression: int, sample_format: int) -> int:
    """Compressions without a predictor ignore the field, as in libtiff."""
    if compression not in _WITH_PREDICTOR:
        return _NO_PREDICTOR
    predictor = directory.integer(Tag.PREDICTOR, _NO_PREDICTOR)
    known = {_NO_PREDICTOR, DIFFERENCES, *([FLOAT_DIFFERENCES] if sample_format == FLOAT else [])}
    if predictor not in known:
        raise not_supported(f"predictor {predictor}")
    return predictor


def _size(directory: Directory, width_tag: int, height_tag: int) -> Size:
    size = directory.integer(width_tag, 0), directory.integer(height_tag, 0)
    if min(size) <= 0:
        raise ImageDamaged("The TIFF has no valid size.")
    return size


def _same(values: Sequence[int], otherwise: str) -> int:
    if len(set(values)) != 1:
        raise not_supported(otherwise)
    return values[0]
