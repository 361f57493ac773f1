"""Ways to damage an image so that decoders process much of it before they fail."""

import random
import struct
import zlib
from collections.abc import Callable
from typing import Final

Mutation = Callable[[bytes, random.Random], bytes]

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_INTERESTING: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers around which sizes, counts and offsets overflow."""


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 16)):
        damaged[_random_position(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def overwrite_bytes(content: bytes, chance: random.Random) -> bytes:
    start = _random_position(content, chance)
    noise = chance.randbytes(chance.randint(1, 64))
    return content[:start] + noise + content[start + len(noise) :]


def overwrite_number(content: bytes, chance: random.Random) -> bytes:
    start = _random_position(content, chance)
    width = chance.choice("BHI")
    value = chance.choice(_INTERESTING) & (256 ** struct.calcsize(width) - 1)
    number = struct.pack(chance.choice("<>") + width, value)
    return content[:start] + number + content[start + len(number) :]


def truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: _random_position(content, chance)]


def remove_slice(content: bytes, chance: random.Random) -> bytes:
    start = _random_position(content, chance)
    return content[:start] + content[start + chance.randint(1, 256) :]


def repeat_slice(content: bytes, chance: random.Random) -> bytes:
    start = _random_position(content, chance)
    end = start + chance.randint(1, 256)
    return content[:end] + content[start:end] * chance.randint(1, 8) + content[end:]


def append_noise(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randint(1, 4096))


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits,
    overwrite_bytes,
    overwrite_number,
    truncate,
    remove_slice,
    repeat_slice,
    append_noise,
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Damage an image one to four times.

    Most PNGs get valid checksums afterwards, because decoders stop at an invalid one.
    """
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(MUTATIONS)(content, chance) or content
    if content.startswith(_PNG_SIGNATURE) and chance.random() < 0.8:
        content = _with_valid_checksums(content)
    return content


def _random_position(content: bytes, chance: random.Random) -> int:
    """Half of the positions are in the first 200 bytes, because headers matter more than pixels."""
    end = min(200, len(content)) if chance.random() < 0.5 else len(content)
    return chance.randrange(end)


def _with_valid_checksums(png: bytes) -> bytes:
    fixed = bytearray(png)
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, position)
        end = position + 8 + length
        if end + 4 > len(png):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(png[position + 4 : end]))
        position = end + 4
    return bytes(fixed)
