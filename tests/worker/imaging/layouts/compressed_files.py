"""JPEG, GIF, WebP and AVIF, written by their libraries, to be compared to libvips."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pyvips
from PIL import Image, ImageChops

from services.common.operations import Format
from services.worker.imaging.formats.layouts import Layout
from tests.worker.imaging.layouts.chart import LayoutFile, chart, palette, samples

RARE_JPEGS: Final = Path(__file__).parent / "rare_jpegs"
"""JPEGs that Pillow cannot write. The names are layouts."""


def compressed_files() -> Iterator[LayoutFile]:
    yield from _jpegs()
    yield from _gifs()
    yield from _webps()
    yield from _avifs()


def _jpegs() -> Iterator[LayoutFile]:
    for storage, is_progressive in (("sequential", False), ("progressive", True)):
        options: dict[str, Any] = {"progressive": is_progressive, "quality": 95}
        yield _saved("jpeg", "gray", "8-bit", storage, chart("L"), **options)
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            file = _saved(
                "jpeg", "YCbCr", "8-bit", storage, chart("RGB"), subsampling=subsampling, **options
            )
            yield file._replace(variant=subsampling)
        yield _saved("jpeg", "RGB", "8-bit", storage, chart("RGB"), keep_rgb=True, **options)
        for channels in ("CMYK", "YCCK"):
            yield _inks(channels, storage, options)
    for path in sorted(RARE_JPEGS.glob("*.jpg")):
        channels, storage = path.stem.split(", ")
        layout = Layout(channels, "8-bit", storage)
        is_read = channels not in {"CMYK", "YCCK"} and storage != "lossless"
        yield LayoutFile(
            "jpeg", layout, "", path.read_bytes(), None if is_read else _truth(channels), is_read
        )


def _truth(channels: str) -> Image.Image:
    if channels in {"CMYK", "YCCK"}:
        return ink_chart()
    return chart("L" if channels == "gray" else "RGB").convert("RGBA")


def ink_chart() -> Image.Image:
    """The chart as if its four channels were inks."""
    return Image.merge("CMYK", chart("RGBA").split()).convert("RGB").convert("RGBA")


def _inks(channels: str, storage: str, options: dict[str, Any]) -> LayoutFile:
    """Pillow writes CMYK inverted, like Photoshop, with Adobe's marker."""
    *colors, black = chart("RGBA").split()
    if channels == "YCCK":
        # Inverted ink is light, so that cyan, magenta and yellow are coded like red, green, blue.
        ycc = Image.merge("RGB", colors).convert("YCbCr")
        colors = [ImageChops.invert(channel) for channel in ycc.split()]
    inks = Image.merge("CMYK", [*colors, black])
    file = _saved("jpeg", channels, "8-bit", storage, inks, **options)
    content = file.content
    if channels == "YCCK":
        transform = content.index(b"Adobe") + 11
        content = content[:transform] + b"\2" + content[transform + 1 :]
    return file._replace(content=content, expected=ink_chart(), libvips_reads_it=False)


def _gifs() -> Iterator[LayoutFile]:
    image = Image.frombytes("P", chart("L").size, bytes(index for (index,) in samples(1, 8)))
    image.putpalette(bytes(level for color in palette(8) for level in color))
    for storage, is_interlaced in (("plain", False), ("interlaced", True)):
        yield _saved("gif", "palette", "8-bit", storage, image, interlace=is_interlaced)
        yield _saved(
            "gif", "palette + key", "8-bit", storage, image, interlace=is_interlaced, transparency=7
        )


def _webps() -> Iterator[LayoutFile]:
    for channels, mode in (("RGB", "RGB"), ("RGB + alpha", "RGBA")):
        image = chart(mode)
        yield _saved("webp", channels, "8-bit", "lossy", image, quality=95)
        yield _saved("webp", channels, "8-bit", "lossless", image, lossless=True)
        frames = {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
        yield _saved("webp", channels, "8-bit", "animated", image, lossless=True, **frames)


def _avifs() -> Iterator[LayoutFile]:
    names = {"gray": "L", "gray + alpha": "LA", "color": "RGB", "color + alpha": "RGBA"}
    for bits in (8, 10, 12):
        for channels, mode in names.items():
            image = _libvips_image(chart(mode))
            content = image.heifsave_buffer(compression="av1", bitdepth=bits, Q=90)
            yield LayoutFile("avif", Layout(channels, f"{bits}-bit", "AV1"), "", content)


def _libvips_image(image: Image.Image) -> Any:
    bands = len(image.getbands())
    copy = pyvips.Image.new_from_memory(image.tobytes(), *image.size, bands, "uchar")
    return copy.copy(interpretation="b-w" if bands < 3 else "srgb")


def _saved(
    image_format: Format, channels: str, bits: str, storage: str, image: Image.Image, **options: Any
) -> LayoutFile:
    file = BytesIO()
    image.save(file, image_format.upper(), **options)
    return LayoutFile(image_format, Layout(channels, bits, storage), "", file.getvalue())
