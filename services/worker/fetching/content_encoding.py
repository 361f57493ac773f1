"""Removing content encodings that were not asked for, including those that are only declared.

Some servers declare the encoding of their last response, or store a wrong ``Content-Encoding`` with
a file. Browsers cannot show such an image, but most download tools can, so an encoding is ignored
where the image already begins.
"""

import zlib
from collections.abc import Iterator, Sequence

from services.common.errors import (
    ImageFormatNotSupported,
    NotAnImage,
    SourceEncodingNotSupported,
    SourceTooLarge,
)
from services.worker.imaging.format_detection import HEAD_BYTES, detect_format

MAX_LAYERS = 5
"""More encodings on top of each other are an attack."""
_STEP_BYTES = 65_536

_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE = "deflate"
_NO_ENCODING = "identity"

_NAMED = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "aes128gcm", "exi"})
"""Encodings to refuse by name. Others are not quoted, because a server can send any text.

Source: "HTTP Content Coding Registry", IANA."""


def declared_encodings(header: str | None) -> Sequence[str]:
    """The encodings in the order in which they were applied. Raises ValueError if too many."""
    names = [name.strip().lower() for name in (header or "").split(",")]
    encodings = [name for name in names if name not in {"", _NO_ENCODING}]
    if len(encodings) > MAX_LAYERS:
        raise ValueError("The response has too many content encodings.")
    return encodings


def decode(chunks: Iterator[bytes], encodings: Sequence[str], *, max_bytes: int) -> Iterator[bytes]:
    """The body without its encodings, in bounded memory.

    Raises SourceEncodingNotSupported, SourceTooLarge if any layer has more than ``max_bytes``, or
    zlib.error.
    """
    for encoding in reversed(encodings):
        head, chunks = _peek(chunks)
        if not _is_compressed(head, encoding) and _is_image(head):
            break
        chunks = _limited(_decompress(chunks, head, encoding), max_bytes)
    yield from chunks


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and an iterator that still yields them."""
    read = bytearray()
    for chunk in chunks:
        read += chunk
        if len(read) >= HEAD_BYTES:
            break
    return bytes(read[:HEAD_BYTES]), _chain(bytes(read), chunks)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _is_compressed(head: bytes, encoding: str) -> bool:
    if encoding in _GZIP:
        return head.startswith(_GZIP_MAGIC)
    return encoding == _DEFLATE and _has_zlib_header(head)


def _has_zlib_header(head: bytes) -> bool:
    """Whether the header of RFC 1950 §2.2 is there. Some servers send deflate without it."""
    method_and_flags = int.from_bytes(head[:2], "big")
    return len(head) > 1 and head[0] & 0x0F == zlib.DEFLATED and method_and_flags % 31 == 0


def _is_image(head: bytes) -> bool:
    try:
        detect_format(head)
    except ImageFormatNotSupported:
        return True  # a format that a later step refuses by its name
    except NotAnImage:
        return False
    return True


def _decompress(chunks: Iterator[bytes], head: bytes, encoding: str) -> Iterator[bytes]:
    if encoding in _GZIP:
        return _inflate(chunks, wbits=16 + zlib.MAX_WBITS)
    if encoding == _DEFLATE:
        return _inflate(chunks, wbits=zlib.MAX_WBITS if _has_zlib_header(head) else -zlib.MAX_WBITS)
    if encoding in _NAMED:
        raise SourceEncodingNotSupported(
            f"The image's server applied the content encoding {encoding} although it was asked for "
            "none. Store or serve the image without it."
        )
    raise SourceEncodingNotSupported(
        "The image's server applied a content encoding although it was asked for none."
    )


def _inflate(chunks: Iterator[bytes], *, wbits: int) -> Iterator[bytes]:
    """Decompress all members of a gzip file, or a single deflate stream.

    Bytes behind the end are ignored, as gzip does. A stream that ends early is not an error here:
    the decoder of the image finds what is missing.
    """
    stream = zlib.decompressobj(wbits)
    for chunk in chunks:
        data = chunk
        more_to_come = True
        while more_to_come:
            if stream.eof:
                if not (wbits > zlib.MAX_WBITS and data.startswith(_GZIP_MAGIC[:1])):
                    return
                stream = zlib.decompressobj(wbits)
            part = stream.decompress(data, _STEP_BYTES)
            yield part
            data = stream.unconsumed_tail or stream.unused_data
            more_to_come = bool(data) or (not stream.eof and len(part) == _STEP_BYTES)


def _limited(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    remaining = max_bytes
    for chunk in chunks:
        remaining -= len(chunk)
        if remaining < 0:
            raise SourceTooLarge(f"The image is larger than the {max_bytes:,} bytes allowed.")
        if chunk:
            yield chunk
