"""The protocol between the parent and an imaging child, over a socket that only these two have.

A frame is a JSON object and a body of bytes, preceded by the lengths of both. It never contains
pickles: an attacker who took over the decoder may have written the child's reply, and unpickling
runs code.
"""

import json
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

_LENGTHS: Final = struct.Struct(">II")
MAX_HEADER_BYTES: Final = 1_000_000
"""The operations come from a DynamoDB item, which has at most 400 KB."""
MAX_TRACEBACK_CHARS: Final = 20_000
"""The parent writes the traceback into one line of its log."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or reply."""

    header: dict[str, Any]
    body: bytes = b""


class ConnectionClosed(Exception):
    """The peer closed the connection."""


class ProtocolError(Exception):
    """The peer sent something that is not a valid frame."""


def send(connection: socket.socket, frame: Frame) -> None:
    """Raises ``OSError``."""
    connection.sendall(_encode_header(frame))
    if frame.body:
        connection.sendall(frame.body)


def send_with_file(
    connection: socket.socket, frame: Frame, descriptor: int, *, deadline: float
) -> None:
    """Pass an open file in place of a body. ``deadline`` is on the monotonic clock.

    Raises ``OSError``, which includes ``TimeoutError``.
    """
    header = _encode_header(frame)
    connection.settimeout(_remaining_s(deadline))
    sent = socket.send_fds(connection, [header], [descriptor])
    if sent < len(header):
        connection.sendall(header[sent:])


def receive(connection: socket.socket, *, max_body_bytes: int, deadline: float) -> Frame:
    """Wait for a frame until ``deadline`` on the monotonic clock.

    Raises ``TimeoutError``, ``ConnectionClosed`` or ``ProtocolError``.
    """
    lengths = _receive_exactly(connection, _LENGTHS.size, deadline)
    header_bytes, body_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > MAX_HEADER_BYTES or body_bytes > max_body_bytes:
        raise ProtocolError(f"a frame of {header_bytes} + {body_bytes} bytes")
    header = _parse_header(_receive_exactly(connection, header_bytes, deadline))
    return Frame(header, _receive_exactly(connection, body_bytes, deadline))


def receive_with_file(connection: socket.socket) -> tuple[Frame, int]:
    """Wait for a frame without a timeout. The caller closes the returned descriptor.

    Raises ``ConnectionClosed``.
    """
    lengths, descriptors, _, _ = socket.recv_fds(connection, _LENGTHS.size, 1)
    if not lengths:
        raise ConnectionClosed
    header_bytes, _ = _LENGTHS.unpack(lengths)
    return Frame(_parse_header(_receive_exactly(connection, header_bytes))), descriptors[0]


def _encode_header(frame: Frame) -> bytes:
    header = json.dumps(frame.header).encode()
    return _LENGTHS.pack(len(header), len(frame.body)) + header


def _remaining_s(deadline: float) -> float:
    """Always above 0: a timeout of 0 makes a socket non-blocking, and it raises another error."""
    return max(deadline - time.monotonic(), 0.001)


def _parse_header(header: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(header)
    except ValueError as malformed:
        raise ProtocolError("not JSON") from malformed
    if not isinstance(parsed, dict):
        raise ProtocolError("not a JSON object")
    return parsed


def _receive_exactly(connection: socket.socket, size: int, deadline: float | None = None) -> bytes:
    received = bytearray(size)
    remaining = memoryview(received)
    while remaining:
        if deadline is not None:
            connection.settimeout(_remaining_s(deadline))
        count = connection.recv_into(remaining)
        if count == 0:
            raise ConnectionClosed
        remaining = remaining[count:]
    return bytes(received)
