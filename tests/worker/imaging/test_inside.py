"""What a child answers, whatever its work comes to."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ImageDamaged
from services.worker.imaging import inside, wire
from services.worker.imaging.wire import Frame
from services.worker.imaging.work import ResultImage, Work


@contextmanager
def served(work: Work, before_each: Callable[[], None]) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    child = threading.Thread(
        target=inside.serve, args=(theirs, work), kwargs={"before_each": before_each}
    )
    child.start()
    with theirs:
        with ours:
            yield ours
        child.join()  # a closed connection ends it


def answer(connection: socket.socket, source: Path) -> Frame:
    deadline = time.monotonic() + 10
    request = Frame({"operations": [{"name": "grayscale"}], "output": None})
    with source.open("rb") as file:
        wire.send_with_file(connection, request, file.fileno(), deadline=deadline)
    return wire.receive(connection, max_body_bytes=100_000_000, deadline=deadline)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "image").write_bytes(b"pixels" * 1_000_000)
    return tmp_path / "image"


def echo(content: bytes, operations: Sequence[Mapping[str, Any]], output: object) -> ResultImage:
    return ResultImage(content + str(operations).encode(), "image/png", 3, 2)


def test_every_request_is_answered_with_a_result(source: Path) -> None:
    started: list[str] = []
    with served(echo, lambda: started.append("clock")) as connection:
        answers = [answer(connection, source) for _ in range(3)]
    assert started == ["clock"] * 3
    expected = source.read_bytes() + b"[{'name': 'grayscale'}]"
    head = {"contentType": "image/png", "width": 3, "height": 2}
    assert answers == [Frame(head, expected)] * 3


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ImageDamaged("It is cut off."), "image_damaged", "It is cut off."),
        (MemoryError(), "image_too_complex", "The image needs more memory"),
        (ZeroDivisionError("secret detail"), "imaging_crashed", "an unexpected error"),
    ],
)
def test_an_error_is_answered_with_its_code_a_sentence_and_the_traceback(
    source: Path, error: Exception, code: str, reason: str
) -> None:
    def fail(content: bytes, operations: object, output: object) -> ResultImage:
        raise error

    with served(fail, lambda: None) as connection:
        head = answer(connection, source).head
        assert answer(connection, source).head["code"] == code  # and it goes on
    assert head["code"] == code
    assert reason in head["reason"]
    assert "secret detail" not in head["reason"]
    assert type(error).__name__ in head["traceback"]
    assert "in fail" in head["traceback"]
