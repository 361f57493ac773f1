"""TIFFs of every sample type and arrangement, in both byte orders."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from typing import Any, Final

import pyvips
from PIL import Image

from services.worker.imaging.formats.layouts import Layout
from tests.worker.imaging.layouts.chart import (
    HEIGHT,
    WIDTH,
    LayoutFile,
    chart,
    level,
    palette,
    rgba,
    samples,
    scaled,
)
from tests.worker.imaging.layouts.png_files import packed

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_UNCOMPRESSED, _DEFLATE = 1, 8
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_ROWS_PER_STRIP: Final = 7
_TILE: Final = 16

_CODES: Final = {
    (8, UNSIGNED): "B",
    (16, UNSIGNED): "H",
    (32, UNSIGNED): "I",
    (8, SIGNED): "b",
    (16, SIGNED): "h",
    (32, SIGNED): "i",
    (16, FLOAT): "e",
    (32, FLOAT): "f",
    (64, FLOAT): "d",
}
_NAMES: Final = {UNSIGNED: "", SIGNED: " signed", FLOAT: " float"}
_NUMBERS: Final = tuple(key for key in _CODES if key not in {(8, UNSIGNED), (16, UNSIGNED)})
"""Bits and formats whose white no standard defines."""

_ALPHA: Final = 2
"""Unassociated (ExtraSamples)."""


@dataclass(frozen=True, kw_only=True)
class TiffSpec:
    photometric: int = BLACK_IS_ZERO
    bits: int = 8
    sample_format: int = UNSIGNED
    channels: int = 1
    is_planar: bool = False
    order: str = "<"
    is_tiled: bool = False
    compression: int = _UNCOMPRESSED
    predictor: int = 1
    extra: int | None = None
    fields: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
    """More fields: tag, type, values."""

    @property
    def samples(self) -> str:
        return f"{self.bits}-bit{_NAMES[self.sample_format]}"

    @property
    def storage(self) -> str:
        return "planar" if self.is_planar else "chunky"

    def __str__(self) -> str:
        parts = (
            "white is 0" if self.photometric == WHITE_IS_ZERO else "",
            {"<": "little-endian", ">": "big-endian"}[self.order],
            "tiles" if self.is_tiled else "strips",
            {1: "", 2: "differences", 3: "float differences"}[self.predictor],
            "Deflate" if self.compression == _DEFLATE else "",
        )
        return ", ".join(filter(None, parts))


def tiff_files() -> Iterator[LayoutFile]:
    yield from _gray()
    yield from _palettes()
    yield from _color_and_alpha()
    yield from _numbers()
    yield from _by_libtiff()


def _variants(spec: TiffSpec) -> Iterator[TiffSpec]:
    """In both byte orders, in strips and tiles, with and without a predictor."""
    predictor = _FLOAT_DIFFERENCES if spec.sample_format == FLOAT else _DIFFERENCES
    for order, is_tiled in product("<>", (False, True)):
        variant = replace(spec, order=order, is_tiled=is_tiled)
        yield variant
        yield replace(variant, compression=_DEFLATE)
        if spec.bits % 8 == 0:
            yield replace(variant, compression=_DEFLATE, predictor=predictor)


def _gray() -> Iterator[LayoutFile]:
    for bits, photometric in product((1, 2, 4, 8, 12, 16), (BLACK_IS_ZERO, WHITE_IS_ZERO)):
        stored = samples(1, bits)
        grays = scaled(stored, bits)
        if photometric == WHITE_IS_ZERO:
            grays = [(255 - gray,) for (gray,) in grays]
        for spec in _variants(TiffSpec(bits=bits, photometric=photometric)):
            # Neither libtiff nor libvips unpacks 12 bits.
            yield _file("gray", spec, stored, rgba(grays), libvips_reads_it=bits != 12)


def _palettes() -> Iterator[LayoutFile]:
    for bits in (1, 2, 4, 8):
        colors = palette(bits)
        color_map = tuple(color[channel] * 257 for channel in range(3) for color in colors)
        base = TiffSpec(bits=bits, photometric=PALETTE, fields=((320, 3, color_map),))
        expected = rgba(colors[index] for (index,) in samples(1, bits))
        for spec in _variants(base):
            yield _file("palette", spec, samples(1, bits), expected)


def _color_and_alpha() -> Iterator[LayoutFile]:
    kinds = (
        ("RGB", RGB, 3, None),
        ("RGB + alpha", RGB, 4, _ALPHA),
        ("gray + alpha", BLACK_IS_ZERO, 2, _ALPHA),
        ("CMYK", CMYK, 4, None),
    )
    for (name, photometric, count, extra), bits, is_planar in product(
        kinds, (8, 16), (False, True)
    ):
        stored = samples(count, bits)
        eight = scaled(stored, bits)
        base = TiffSpec(
            photometric=photometric, bits=bits, channels=count, is_planar=is_planar, extra=extra
        )
        expected = rgba(map(_from_ink, eight) if name == "CMYK" else eight)
        for spec in _variants(base):
            # Without a profile, libvips converts CMYK by one of its own. It misreads planes.
            is_read = name != "CMYK" and not is_planar
            yield _file(name, spec, stored, expected, libvips_reads_it=is_read)


def _from_ink(inks: tuple[int, ...]) -> tuple[int, ...]:
    *colors, black = inks
    return tuple(round((255 - color) * (255 - black) / 255) for color in colors)


def _numbers() -> Iterator[LayoutFile]:
    for bits, sample_format in _NUMBERS:
        for name, photometric, count in (("gray", BLACK_IS_ZERO, 1), ("RGB", RGB, 3)):
            for is_planar in (False, True)[: 2 if count > 1 else 1]:
                base = TiffSpec(
                    photometric=photometric,
                    bits=bits,
                    sample_format=sample_format,
                    channels=count,
                    is_planar=is_planar,
                )
                stored = _stretched(base)
                for spec in _variants(base):
                    expected = rgba(samples(count, 8))
                    yield _file(name, spec, stored, expected, libvips_reads_it=False)


def _stretched(spec: TiffSpec) -> list[tuple[float, ...]]:
    """The chart from some lowest to some highest value."""
    low, high = {
        UNSIGNED: (2 ** (spec.bits - 4), 2 ** (spec.bits - 1) + 2 ** (spec.bits - 2)),
        SIGNED: (-(2 ** (spec.bits - 2)), 2 ** (spec.bits - 1) - 1),
        FLOAT: (-50.0, 200.0),
    }[spec.sample_format]
    as_number = float if spec.sample_format == FLOAT else round
    return [
        tuple(
            as_number(low + level(channel, x, y) * (high - low)) for channel in range(spec.channels)
        )
        for y in range(HEIGHT)
        for x in range(WIDTH)
    ]


def _by_libtiff() -> Iterator[LayoutFile]:
    """What Pillow writes with libtiff, to be compared to libvips."""
    yield _lab()
    ycbcr = chart("RGB").convert("YCbCr")
    yield LayoutFile(
        "tiff",
        Layout("YCbCr", "8-bit", "chunky"),
        "",
        _saved("YCbCr", "8-bit", "chunky", "", ycbcr).content,
        chart("RGBA").convert("RGB").convert("RGBA"),
        libvips_reads_it=False,
    )
    yield _saved("gray", "8-bit", "JPEG", "", chart("L"), compression="jpeg")
    yield _saved("YCbCr", "8-bit", "JPEG", "", ycbcr, compression="jpeg")
    yield _saved("RGB", "8-bit", "JPEG", "", chart("RGB"), compression="jpeg")
    cmyk = Image.merge("CMYK", chart("RGBA").split())
    file = _saved("CMYK", "8-bit", "JPEG", "", cmyk, compression="jpeg", quality=100)
    expected = rgba(map(_from_ink, samples(4, 8)))
    yield file._replace(expected=expected, libvips_reads_it=False)
    for compression in ("tiff_ccitt", "group3", "group4"):
        dithered = chart("L").convert("1")
        yield _saved("gray", "1-bit", "fax", compression, dithered, compression=compression)


def _lab() -> LayoutFile:
    """Colors that sRGB has, because each program brings others into its gamut in its own way."""
    lightness, *tints = chart("RGB").split()
    lab = Image.merge("LAB", [lightness, *(tint.point(lambda v: 108 + v // 6) for tint in tints)])
    unsigned, signed = (
        pyvips.Image.new_from_memory(lab.tobytes(), WIDTH, HEIGHT, 3, kind)
        for kind in ("uchar", "char")
    )
    numbers = (unsigned[0] * (100 / 255)).bandjoin([signed[1], signed[2]])
    srgb = numbers.copy(interpretation="lab").colourspace("srgb")
    expected = Image.frombytes("RGB", (WIDTH, HEIGHT), srgb.write_to_memory()).convert("RGBA")
    file = _saved("CIELAB", "8-bit", "chunky", "", lab)
    return file._replace(expected=expected, libvips_reads_it=False)


def _saved(
    channels: str, bits: str, storage: str, variant: str, image: Image.Image, **options: Any
) -> LayoutFile:
    file = BytesIO()
    image.save(file, "TIFF", **options)
    return LayoutFile("tiff", Layout(channels, bits, storage), variant, file.getvalue())


def _file(
    channels: str,
    spec: TiffSpec,
    stored: Sequence[tuple[float, ...]],
    expected: Image.Image,
    *,
    libvips_reads_it: bool = True,
) -> LayoutFile:
    layout = Layout(channels, spec.samples, spec.storage)
    return LayoutFile("tiff", layout, str(spec), tiff(spec, stored), expected, libvips_reads_it)


# ── Writing ───────────────────────────────────────────────────────────────────────────────────


def tiff(spec: TiffSpec, stored: Sequence[tuple[float, ...]]) -> bytes:
    """A TIFF of these pixels ("TIFF Revision 6.0", Adobe, 1992)."""
    planes = [[(pixel[channel],) for pixel in stored] for channel in range(spec.channels)]
    parts = [
        _compressed(spec, [_row(spec, row) for row in rows])
        for plane in (planes if spec.is_planar else [stored])
        for rows in _segments(spec, plane)
    ]
    data = bytearray(8)
    offsets = []
    for part in parts:
        offsets.append(len(data))
        data += part + bytes(len(part) % 2)
    fields = {
        256: (3, (WIDTH,)),
        257: (3, (HEIGHT,)),
        258: (3, (spec.bits,) * spec.channels),
        259: (3, (spec.compression,)),
        262: (3, (spec.photometric,)),
        277: (3, (spec.channels,)),
        284: (3, (2 if spec.is_planar else 1,)),
        317: (3, (spec.predictor,)),
        339: (3, (spec.sample_format,) * spec.channels),
        **{tag: (kind, values) for tag, kind, values in spec.fields},
    }
    if spec.extra is not None:
        fields[338] = (3, (spec.extra,))
    counts = tuple(map(len, parts))
    if spec.is_tiled:
        fields |= {322: (3, (_TILE,)), 323: (3, (_TILE,))}
        fields |= {324: (4, tuple(offsets)), 325: (4, counts)}
    else:
        fields |= {273: (4, tuple(offsets)), 278: (3, (_ROWS_PER_STRIP,)), 279: (4, counts)}
    return _with_directory(bytes(data), spec.order, fields)


def _with_directory(
    data: bytes, order: str, fields: dict[int, tuple[int, tuple[int, ...]]]
) -> bytes:
    at = len(data)
    entries, values_at, more = b"", at + 2 + 12 * len(fields) + 4, b""
    for tag, (kind, values) in sorted(fields.items()):
        content = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        entries += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", values_at + len(more))
            more += content + bytes(len(content) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return head + data[8:] + struct.pack(f"{order}H", len(fields)) + entries + bytes(4) + more


def _segments(
    spec: TiffSpec, plane: Sequence[tuple[float, ...]]
) -> Iterator[list[list[tuple[float, ...]]]]:
    """The rows of each strip or tile. Tiles are filled up by repeating the last row and column."""
    rows = [list(plane[start : start + WIDTH]) for start in range(0, len(plane), WIDTH)]
    if not spec.is_tiled:
        for top in range(0, HEIGHT, _ROWS_PER_STRIP):
            yield rows[top : top + _ROWS_PER_STRIP]
        return
    for top, left in product(range(0, HEIGHT, _TILE), range(0, WIDTH, _TILE)):
        yield [
            [rows[min(y, HEIGHT - 1)][min(x, WIDTH - 1)] for x in range(left, left + _TILE)]
            for y in range(top, top + _TILE)
        ]


def _row(spec: TiffSpec, row: Sequence[tuple[float, ...]]) -> bytes:
    values = [sample for pixel in row for sample in pixel]
    if spec.bits % 8:
        return packed([int(value) for value in values], spec.bits)
    step = len(row[0])
    code = _CODES[spec.bits, spec.sample_format]
    if spec.predictor == _DIFFERENCES:
        numbers = [int(value) for value in values]
        wide = 2**spec.bits
        values = [
            (value - (numbers[index - step] if index >= step else 0)) % wide
            for index, value in enumerate(numbers)
        ]
        code = code.upper()
    if spec.predictor != _FLOAT_DIFFERENCES:
        return struct.pack(f"{spec.order}{len(values)}{code}", *values)
    content = struct.pack(f">{len(values)}{code}", *values)
    size = spec.bits // 8
    by_significance = b"".join(content[byte::size] for byte in range(size))
    return bytes(
        (value - (by_significance[index - step] if index >= step else 0)) % 256
        for index, value in enumerate(by_significance)
    )


def _compressed(spec: TiffSpec, rows: Sequence[bytes]) -> bytes:
    content = b"".join(rows)
    return zlib.compress(content) if spec.compression == _DEFLATE else content
