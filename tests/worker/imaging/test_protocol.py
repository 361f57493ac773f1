"""Frames between the parent and an imaging child, valid and malformed."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.worker.imaging import protocol
from services.worker.imaging.protocol import ConnectionClosed, Frame, ProtocolError


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The parent's end of a connection and the child's."""
    parent_end, child_end = socket.socketpair()
    with parent_end, child_end:
        yield parent_end, child_end


def soon() -> float:
    return time.monotonic() + 10


def test_a_frame_larger_than_the_socket_buffer_arrives_whole(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    parent_end, child_end = ends
    sent = Frame({"width": 3}, os.urandom(3_000_000))
    sender = threading.Thread(target=protocol.send, args=(child_end, sent))
    sender.start()
    assert protocol.receive(parent_end, max_body_bytes=3_000_000, deadline=soon()) == sent
    sender.join()


def test_an_open_file_is_passed_with_a_frame(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    parent_end, child_end = ends
    (tmp_path / "image").write_bytes(b"pixels")
    with (tmp_path / "image").open("rb") as file:
        protocol.send_with_file(parent_end, Frame({"a": 1}), file.fileno(), deadline=soon())
    frame, descriptor = protocol.receive_with_file(child_end)
    with open(descriptor, "rb") as received:  # noqa: PTH123 - a descriptor, not a path
        assert (frame, received.read()) == (Frame({"a": 1}), b"pixels")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", protocol.MAX_HEADER_BYTES + 1, 0),
        struct.pack(">II", 2, 1001) + b"{}",
        struct.pack(">II", 4, 0) + b"\x80\x04N.",  # a pickle
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 6, 0) + b"\xff" * 6,
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_a_malformed_frame_is_rejected(
    ends: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    parent_end, child_end = ends
    child_end.sendall(data)
    with pytest.raises(ProtocolError):
        protocol.receive(parent_end, max_body_bytes=1000, deadline=soon())


@pytest.mark.parametrize("data", [b"", b"\0", struct.pack(">II", 2, 10) + b"{}" + b"half"])
def test_a_child_that_exits_within_a_frame_is_detected(
    ends: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    parent_end, child_end = ends
    child_end.sendall(data)
    child_end.close()
    with pytest.raises(ConnectionClosed):
        protocol.receive(parent_end, max_body_bytes=1000, deadline=soon())


def test_receiving_times_out_at_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    parent_end, _ = ends
    with pytest.raises(TimeoutError):
        protocol.receive(parent_end, max_body_bytes=1000, deadline=time.monotonic())


def test_a_parent_that_exits_is_detected(ends: tuple[socket.socket, socket.socket]) -> None:
    parent_end, child_end = ends
    parent_end.close()
    with pytest.raises(ConnectionClosed):
        protocol.receive_with_file(child_end)
