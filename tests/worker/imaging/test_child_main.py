"""The replies of an imaging child to requests, by what its handler returns or raises."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ImageDamaged
from services.worker.imaging import child_main, protocol
from services.worker.imaging.handler import ImageHandler, ResultImage
from services.worker.imaging.protocol import Frame


@contextmanager
def serving(handler: ImageHandler, before_each: Callable[[], None]) -> Iterator[socket.socket]:
    """The parent's end of a connection to a thread that stands in for the child."""
    parent_end, child_end = socket.socketpair()
    child = threading.Thread(
        target=child_main.serve, args=(child_end, handler), kwargs={"before_each": before_each}
    )
    child.start()
    with child_end:
        with parent_end:
            yield parent_end
        child.join()  # closing the connection ends it


def reply_to_request(connection: socket.socket, source: Path) -> Frame:
    deadline = time.monotonic() + 10
    request = Frame({"recipe": {"operations": [{"name": "grayscale"}]}})
    with source.open("rb") as file:
        protocol.send_with_file(connection, request, file.fileno(), deadline=deadline)
    return protocol.receive(connection, max_body_bytes=100_000_000, deadline=deadline)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "image").write_bytes(b"pixels" * 1_000_000)
    return tmp_path / "image"


def echo(content: bytes, recipe: Mapping[str, Any]) -> ResultImage:
    return ResultImage(content + str(recipe["operations"]).encode(), "image/png", 3, 2, ["Odd."])


def test_every_request_gets_a_result(source: Path) -> None:
    started: list[str] = []
    with serving(echo, lambda: started.append("timer")) as connection:
        replies = [reply_to_request(connection, source) for _ in range(3)]
    assert started == ["timer"] * 3
    expected = source.read_bytes() + b"[{'name': 'grayscale'}]"
    header = {"contentType": "image/png", "width": 3, "height": 2, "warnings": ["Odd."]}
    assert replies == [Frame(header, expected)] * 3


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ImageDamaged("It is truncated."), "image_damaged", "It is truncated."),
        (MemoryError(), "image_too_complex", "The image needs more memory"),
        (ZeroDivisionError("secret detail"), "imaging_crashed", "an unexpected error"),
    ],
)
def test_an_error_reply_has_a_code_a_reason_and_a_traceback(
    source: Path, error: Exception, code: str, reason: str
) -> None:
    def fail(content: bytes, recipe: object) -> ResultImage:
        raise error

    with serving(fail, lambda: None) as connection:
        header = reply_to_request(connection, source).header
        assert reply_to_request(connection, source).header["code"] == code, "it stopped serving"
    assert header["code"] == code
    assert reason in header["reason"]
    assert "secret detail" not in header["reason"]
    assert type(error).__name__ in header["traceback"]
    assert "in fail" in header["traceback"]
