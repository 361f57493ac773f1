"""Images for tests: photographs, generated images of every kind, and decompression bombs."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

import local
from services.common.operations import Format
from services.worker.imaging.encode import PILLOW_NAMES

SAMPLES: Final = Path(local.__file__).parent / "samples"
PHOTOGRAPHS: Final = sorted([*SAMPLES.glob("*.jpg"), *SAMPLES.glob("*.png")])

MODES: Final[dict[Format, tuple[str, ...]]] = {
    "jpeg": ("L", "RGB", "CMYK", "YCbCr"),
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "webp": ("L", "RGB", "RGBA"),
    "avif": ("L", "RGB", "RGBA"),
    "gif": ("1", "L", "P", "RGB", "RGBA"),
    "tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
}
"""The modes of each format, by Pillow's names."""


def file_of(image: Image.Image, file_format: Format, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, PILLOW_NAMES[file_format], **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def gradient(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A smooth image, which lossy formats keep almost unchanged. Its color channels differ."""
    ramp = Image.linear_gradient("L")
    rotated = ramp.rotate(90)
    radial = Image.radial_gradient("L")
    image = Image.merge("RGBA", (ramp, rotated, radial, ramp)).resize(size)
    if mode in {"I;16", "I"}:
        return image.convert("I").point(lambda sample: sample * 257 + 0).convert(mode)
    if mode == "LAB":
        return Image.merge("LAB", image.split()[:3])
    if mode in {"LA", "RGBA"}:
        return image.convert(mode)
    return image.convert("RGB").convert(mode)


CORNERS: Final = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
"""Top left, top right, bottom left, bottom right."""


def corners(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """An image whose corners show its orientation."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize(size, Image.Resampling.NEAREST)


def corners_of(image: Image.Image) -> list[str]:
    """The color in each corner as a letter, such as ``['r', 'g', 'b', 'y']``."""
    rgb = image.convert("RGB")
    names = dict(zip(CORNERS, "rgby", strict=True))
    width, height = image.size
    places = ((2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3))
    return [
        names[tuple(255 if sample > 127 else 0 for sample in rgb.getpixel(place))]  # type: ignore[index,union-attr]
        for place in places
    ]


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def adobe_rgb() -> bytes:
    """A real ICC profile, from a photograph."""
    return bytes(opened((SAMPLES / "rocket.jpg").read_bytes()).info["icc_profile"])


def gray_profile(gamma: float) -> bytes:
    """A profile of a gray color space (ICC.1:2010, 8.3.4)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    return _profile(b"GRAY", b"XYZ ", (b"wtpt", _D50), (b"kTRC", curve))


def black_ink_profile() -> bytes:
    """A profile of a press on which every ink prints black (ICC.1:2010, 8.5.2 and 10.8)."""
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(0x10000 * (i % 4 == 0) for i in range(9)))
    white, black = (255, 128, 128), (0, 128, 128)  # in Lab, for the 16 combinations of full inks
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity
    table += straight * 4 + bytes(white) + bytes(black) * 15 + straight * 3
    return _profile(b"CMYK", b"Lab ", (b"wtpt", _D50), (b"A2B0", table))


_D50: Final = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)


def _profile(space: bytes, connection: bytes, *tags: tuple[bytes, bytes]) -> bytes:
    """A profile with the name of its color space (ICC.1:2010, 7.2 and 7.3)."""
    name = b"desc\0\0\0\0" + struct.pack(">I", len(space) + 1) + space + bytes(1 + 78)
    offset = 128 + 4 + 12 * (len(tags) + 1)
    table, content = struct.pack(">I", len(tags) + 1), b""
    for signature, data in (*tags, (b"desc", name)):
        table += signature + struct.pack(">II", offset + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">I4xI4s4s4s", offset + len(content), 0x02100000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + _D50[8:]
    return header.ljust(128, b"\0") + table + content


# ── Bombs: small files whose headers claim 50,000 by 50,000 pixels ────────────────────────────

BOMB_SIDE: Final = 50_000


def bombs() -> Iterator[tuple[Format, bytes]]:
    tiny = gradient()
    yield (
        "png",
        _png_chunks(
            (b"IHDR", struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1_000_000))),
            (b"IEND", b""),
        ),
    )
    jpeg = bytearray(file_of(tiny, "jpeg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", BOMB_SIDE, BOMB_SIDE)
    yield "jpeg", bytes(jpeg)
    gif = bytearray(file_of(tiny, "gif"))
    gif[6:10] = struct.pack("<HH", BOMB_SIDE, BOMB_SIDE)
    yield "gif", bytes(gif)
    webp = bytearray(file_of(gradient("RGBA"), "webp", exif=exif(1)))  # so that it has a VP8X chunk
    canvas = webp.index(b"VP8X") + 12
    webp[canvas : canvas + 6] = (BOMB_SIDE - 1).to_bytes(3, "little") * 2
    yield "webp", bytes(webp)
    avif = bytearray(file_of(tiny, "avif"))
    extents = avif.index(b"ispe") + 8
    avif[extents : extents + 8] = struct.pack(">II", BOMB_SIDE, BOMB_SIDE)
    yield "avif", bytes(avif)
    tiff = bytearray(file_of(tiny, "tiff"))
    for tag, value in ((0x0100, 48), (0x0101, 32)):
        entry = tiff.index(struct.pack("<HHII", tag, 4, 1, value))
        tiff[entry + 8 : entry + 12] = struct.pack("<I", BOMB_SIDE)
    yield "tiff", bytes(tiff)
    bmp = bytearray(file_of(tiny, "bmp"))
    bmp[18:26] = struct.pack("<ii", BOMB_SIDE, BOMB_SIDE)
    yield "bmp", bytes(bmp)


def jpeg_with_scans(scans: int, *, side: int = 64) -> bytes:
    """A gray JPEG whose last scan is repeated. Each scan takes 75 bytes."""
    once = file_of(Image.new("L", (side, side), 128), "jpeg", progressive=True)
    last = once.rindex(b"\xff\xda")
    written = once.count(b"\xff\xda")
    return once[:-2] + once[last:-2] * (scans - written) + once[-2:]


def png_with_text_bomb() -> bytes:
    """An image of one pixel with compressed text that expands to 200 MB."""
    text = b"Comment\0\0" + zlib.compress(bytes(2_000_000))
    return _png_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        *((b"zTXt", text),) * 100,
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )


def png_without_palette() -> bytes:
    return _png_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )


def _png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
