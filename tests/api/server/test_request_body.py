"""A request's body while it arrives."""

import io
from dataclasses import dataclass, field

import pytest
from gunicorn.http.errors import InvalidChunkSize

from services.api.server.request_body import Input


@dataclass
class Arrived:
    times: int = field(default=0)

    def __call__(self) -> None:
        self.times += 1


def test_a_body_of_known_length_is_complete_after_its_last_byte() -> None:
    arrived = Arrived()
    body = Input({"wsgi.input": io.BytesIO(b"abcd"), "CONTENT_LENGTH": "4"}, arrived=arrived)

    assert body.read(3) == b"abc"
    assert arrived.times == 0
    assert body.read(3) == b"d"
    assert arrived.times == 1


def test_a_chunked_body_is_complete_at_its_end() -> None:
    arrived = Arrived()
    body = Input({"wsgi.input": io.BytesIO(b"ab")}, arrived=arrived)
    body.read(2)
    assert arrived.times == 0

    assert body.read(2) == b""
    assert arrived.times == 1


def test_a_malformed_chunk_raises_os_error() -> None:
    class MalformedChunks:
        def read(self, size: int) -> bytes:
            raise InvalidChunkSize(b"not hexadecimal")

    body = Input({"wsgi.input": MalformedChunks()}, arrived=Arrived())

    with pytest.raises(OSError, match="malformed"):
        body.read(1)


def test_a_truncated_body_raises_os_error() -> None:
    body = Input({"wsgi.input": io.BytesIO(b"ab"), "CONTENT_LENGTH": "4"}, arrived=Arrived())
    body.read(4)

    with pytest.raises(OSError, match="early"):
        body.read(2)
