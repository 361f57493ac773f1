"""The test chart: smooth channels that differ, at any number of bits."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from PIL import Image

from services.common.operations import Format
from services.worker.imaging.formats.layouts import Layout

WIDTH: Final = 37
HEIGHT: Final = 29
"""Odd, so that rows, tiles and blocks end in the middle."""

KEY_AT: Final = (5, 5)
"""The pixel whose color is the transparent one of images with a color key."""


class LayoutFile(NamedTuple):
    image_format: Format
    layout: Layout
    variant: str
    """What else is particular about the file."""
    content: bytes
    expected: Image.Image | None = None
    """The right image in mode RGBA, or None if only libvips knows it."""
    libvips_reads_it: bool = True


def level(channel: int, x: int, y: int) -> float:
    """From 0 to 1. Each of the first four channels reaches both."""
    across, down = x / (WIDTH - 1), y / (HEIGHT - 1)
    return (across, down, 1 - across, (across + down) / 2)[channel]


def samples(channels: int, bits: int) -> list[tuple[int, ...]]:
    """The pixels, row by row."""
    highest = 2**bits - 1
    return pixels(
        lambda x, y: tuple(round(level(channel, x, y) * highest) for channel in range(channels))
    )


def pixels(of: Callable[[int, int], tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [of(x, y) for y in range(HEIGHT) for x in range(WIDTH)]


def key(channels: int, bits: int) -> tuple[int, ...]:
    x, y = KEY_AT
    return samples(channels, bits)[y * WIDTH + x]


def palette(bits: int) -> list[tuple[int, int, int]]:
    return [
        (index * 37 % 256, index * 91 % 256, 255 - index * 53 % 256) for index in range(2**bits)
    ]


def rgba(colors: Iterable[tuple[int, ...]]) -> Image.Image:
    """An image of gray, gray and alpha, RGB or RGBA pixels of 8 bits."""
    content = bytearray()
    for color in colors:
        *rgb, alpha = color if len(color) in {2, 4} else (*color, 255)
        content += bytes((*(rgb * 3 if len(rgb) == 1 else rgb), alpha))
    return Image.frombytes("RGBA", (WIDTH, HEIGHT), bytes(content))


def scaled(colors: Iterable[tuple[int, ...]], bits: int) -> list[tuple[int, ...]]:
    """Samples of so many bits in 8 bits."""
    highest = 2**bits - 1
    return [tuple(round(sample * 255 / highest) for sample in color) for color in colors]


def chart(mode: str) -> Image.Image:
    """The chart at 8 bits, in one of Pillow's modes."""
    image = rgba(samples(4, 8))
    if mode == "L":
        return image.getchannel("R")
    if mode == "LA":
        return Image.merge("LA", (image.getchannel("R"), image.getchannel("G")))
    return image if mode == "RGBA" else image.convert("RGB")
