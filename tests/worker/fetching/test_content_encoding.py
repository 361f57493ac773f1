"""Encodings that a server applies although none was asked for, or only declares."""

import gzip
import zlib

import pytest

from services.common.errors import (
    SourceEncodingNotSupported,
    SourceError,
    SourceTooLarge,
    SourceUnreachable,
)
from tests.worker.fetching.fetch_harness import IMAGE, fetch, fetch_error, fetcher_for
from tests.worker.fetching.loopback_source import ok, response_head, serving

PNG = b"\x89PNG\r\n\x1a\n" + IMAGE
HEIC = b"\0\0\0\x18ftypheic" + IMAGE


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def encoded(body: bytes, *encodings: str) -> bytes:
    return ok(body, *(f"Content-Encoding: {encoding}" for encoding in encodings))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(IMAGE)),
        ("x-gzip", gzip.compress(IMAGE)),
        ("GZIP", gzip.compress(IMAGE)),
        ("deflate", zlib.compress(IMAGE)),
        ("deflate", raw_deflate(IMAGE)),
        ("gzip, gzip", gzip.compress(gzip.compress(IMAGE))),
        ("deflate, identity, gzip", gzip.compress(zlib.compress(IMAGE))),
        ("gzip", gzip.compress(IMAGE[:9_000]) + gzip.compress(IMAGE[9_000:])),
        ("gzip", gzip.compress(IMAGE) + bytes(100)),
        ("gzip", gzip.compress(IMAGE)[:-8]),
        ("identity", IMAGE),
        ("", IMAGE),
    ],
    ids=[
        "gzip",
        "x-gzip",
        "upper case",
        "deflate",
        "deflate without a header",
        "gzip twice",
        "deflate, then gzip",
        "two gzip members",
        "gzip with padding",
        "gzip without its check sum",
        "identity",
        "empty",
    ],
)
def test_an_encoding_is_removed(encoding: str, body: bytes) -> None:
    with serving(encoded(body, encoding)) as source:
        assert fetch(fetcher_for(source), source.url()) == IMAGE


def test_an_image_that_compresses_well_is_complete() -> None:
    image = PNG + bytes(65_536 * 2)
    with serving(encoded(gzip.compress(image), "gzip")) as source:
        assert fetch(fetcher_for(source, max_bytes=400_000), source.url()) == image


@pytest.mark.parametrize("image", [PNG, HEIC], ids=["a supported format", "another format"])
@pytest.mark.parametrize(
    "encoding",
    ["gzip", "deflate", "br", "zstd", "gzip, br", "aws-chunked", "utf-8", "none", "base64"],
)
def test_an_encoding_that_is_only_declared_is_ignored(encoding: str, image: bytes) -> None:
    with serving(encoded(image, encoding)) as source:
        assert fetch(fetcher_for(source), source.url()) == image


def test_an_encoding_that_is_declared_twice_but_applied_once_is_removed_once() -> None:
    with serving(encoded(gzip.compress(PNG), "gzip", "gzip")) as source:
        assert fetch(fetcher_for(source), source.url()) == PNG


def test_the_start_of_an_image_is_recognized_in_single_bytes() -> None:
    head = response_head(200, "Content-Encoding: br", "Transfer-Encoding: chunked")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in PNG[:600])
    with serving(head + chunks + b"0\r\n\r\n") as source:
        assert fetch(fetcher_for(source), source.url()) == PNG[:600]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "BR"])
def test_an_encoding_that_was_not_asked_for_is_refused_by_name(encoding: str) -> None:
    with serving(encoded(b"\x1b\x03compressed", encoding)) as source:
        error = fetch_error(fetcher_for(source), source.url())
    assert isinstance(error, SourceEncodingNotSupported)
    assert encoding.rsplit(maxsplit=1)[-1].lower() in str(error)
    assert not error.retryable


def test_an_unknown_encoding_is_refused_without_repeating_its_name() -> None:
    with serving(encoded(b"compressed", "s3cret")) as source:
        error = fetch_error(fetcher_for(source), source.url("/?token=s3cret"))
    assert isinstance(error, SourceEncodingNotSupported)


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("gzip", b"not gzip at all", SourceUnreachable),
        ("deflate", b"not deflate at all", SourceUnreachable),
        ("gzip", gzip.compress(IMAGE)[:20] + b"damage" * 20, SourceUnreachable),
        (", ".join(["gzip"] * 6), b"p", SourceUnreachable),
        ("gzip, gzip", gzip.compress(gzip.compress(b"") * 50_000), SourceTooLarge),
    ],
    ids=["no gzip", "no deflate", "damaged", "six layers", "empty members"],
)
def test_a_body_that_cannot_be_decoded_is_an_error(
    encoding: str, body: bytes, expected: type[SourceError]
) -> None:
    with serving(encoded(body, encoding)) as source:
        assert type(fetch_error(fetcher_for(source), source.url())) is expected
