"""Messages between parent and child, and what is not believed."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.worker.imaging import wire
from services.worker.imaging.wire import Frame, WireClosed, WireGarbled


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon() -> float:
    return time.monotonic() + 10


def test_a_message_arrives_whole_however_large(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    sent = Frame({"width": 3}, os.urandom(3_000_000))  # far more than a socket holds
    sender = threading.Thread(target=wire.send, args=(theirs, sent))
    sender.start()
    assert wire.receive(ours, max_body_bytes=3_000_000, deadline=soon()) == sent
    sender.join()


def test_a_file_is_handed_over_open(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = ends
    (tmp_path / "image").write_bytes(b"pixels")
    with (tmp_path / "image").open("rb") as file:
        wire.send_with_file(ours, Frame({"a": 1}), file.fileno(), deadline=soon())
    message, descriptor = wire.receive_with_file(theirs)
    with open(descriptor, "rb") as received:  # noqa: PTH123 - a descriptor, not a path
        assert (message, received.read()) == (Frame({"a": 1}), b"pixels")


@pytest.mark.parametrize(
    "said",
    [
        struct.pack(">II", wire.MAX_HEAD_BYTES + 1, 0),
        struct.pack(">II", 2, 1001) + b"{}",
        struct.pack(">II", 4, 0) + b"\x80\x04N.",  # a pickle
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 6, 0) + b"\xff" * 6,
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_what_a_child_never_says_is_not_believed(
    ends: tuple[socket.socket, socket.socket], said: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(said)
    with pytest.raises(WireGarbled):
        wire.receive(ours, max_body_bytes=1000, deadline=soon())


@pytest.mark.parametrize("said", [b"", b"\0", struct.pack(">II", 2, 10) + b"{}" + b"half"])
def test_a_child_that_ends_in_mid_message_is_noticed(
    ends: tuple[socket.socket, socket.socket], said: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(said)
    theirs.close()
    with pytest.raises(WireClosed):
        wire.receive(ours, max_body_bytes=1000, deadline=soon())


def test_a_child_that_says_nothing_is_not_waited_for_beyond_the_deadline(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = ends
    with pytest.raises(TimeoutError):
        wire.receive(ours, max_body_bytes=1000, deadline=time.monotonic())


def test_a_parent_that_ends_is_noticed(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()
    with pytest.raises(WireClosed):
        wire.receive_with_file(theirs)
