"""Images that contain a serial number, so that each result can be traced to one fetch."""

import io
import struct
import zlib

from PIL import Image

SIDE = 8


def encode(serial: int) -> bytes:
    """A small RGB PNG of gray pixels whose first row encodes `serial`."""
    grays = struct.pack(">Q", serial) + bytes(range(SIDE * (SIDE - 1)))
    rows = b"".join(
        b"\0" + b"".join(bytes([gray]) * 3 for gray in grays[start : start + SIDE])
        for start in range(0, len(grays), SIDE)
    )
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header),
        _chunk(b"IDAT", zlib.compress(rows, 1)),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def decode(gray_version: bytes) -> int | None:
    """The serial number in a grayscale version of an image; None if there is none."""
    try:
        with Image.open(io.BytesIO(gray_version)) as image:
            if (image.mode, image.size) != ("L", (SIDE, SIDE)):
                return None
            return int(struct.unpack(">Q", image.tobytes()[:SIDE])[0])
    except OSError:
        return None


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
