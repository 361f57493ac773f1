import io
from dataclasses import dataclass

import pytest
from gunicorn.http.errors import InvalidChunkSize

from services.api.server.request_body import RequestBody


@dataclass
class Completions:
    count: int = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def completions() -> Completions:
    return Completions()


def test_a_body_of_known_length_is_complete_after_its_last_byte(completions: Completions) -> None:
    environ = {"wsgi.input": io.BytesIO(b"abcd"), "CONTENT_LENGTH": "4"}
    body = RequestBody(environ, on_complete=completions)

    assert body.read(3) == b"abc"
    assert completions.count == 0
    assert body.read(3) == b"d"
    assert completions.count == 1


def test_a_chunked_body_is_complete_at_its_end(completions: Completions) -> None:
    body = RequestBody({"wsgi.input": io.BytesIO(b"ab")}, on_complete=completions)
    body.read(2)
    assert completions.count == 0

    assert body.read(2) == b""
    assert completions.count == 1


def test_a_malformed_chunk_raises_os_error(completions: Completions) -> None:
    class MalformedChunks:
        def read(self, size: int) -> bytes:
            raise InvalidChunkSize(b"not hexadecimal")

    body = RequestBody({"wsgi.input": MalformedChunks()}, on_complete=completions)

    with pytest.raises(OSError, match="malformed"):
        body.read(1)


def test_a_truncated_body_raises_os_error(completions: Completions) -> None:
    environ = {"wsgi.input": io.BytesIO(b"ab"), "CONTENT_LENGTH": "4"}
    body = RequestBody(environ, on_complete=completions)
    body.read(4)

    with pytest.raises(OSError, match="early"):
        body.read(2)
