"""What parent and imaging child say to each other, over one socket that nobody shares.

A message is a JSON object and a body of bytes, after the lengths of both. Never pickle: what a
child says may have been written by whoever broke its decoder, and unpickling runs code.
"""

import json
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

_LENGTHS: Final = struct.Struct(">II")
MAX_HEAD_BYTES: Final = 1_000_000
"""A request's operations come from a row, which has at most 400 KB."""
MAX_TRACEBACK_CHARS: Final = 20_000
"""What the parent makes one line of its log of."""


@dataclass(frozen=True, slots=True)
class Frame:
    head: dict[str, Any]
    body: bytes = b""


class WireClosed(Exception):
    """The other side is gone."""


class WireGarbled(Exception):
    """The other side says what it never says."""


def send(connection: socket.socket, message: Frame) -> None:
    """Raises ``OSError``."""
    connection.sendall(_start_of(message))
    if message.body:
        connection.sendall(message.body)


def send_with_file(
    connection: socket.socket, message: Frame, descriptor: int, *, deadline: float
) -> None:
    """Hand over an open file in place of a body; ``deadline`` is on the monotonic clock.

    Raises ``OSError``, ``TimeoutError`` among them.
    """
    start = _start_of(message)
    connection.settimeout(_left(deadline))
    sent = socket.send_fds(connection, [start], [descriptor])
    if sent < len(start):
        connection.sendall(start[sent:])


def receive(connection: socket.socket, *, max_body_bytes: int, deadline: float) -> Frame:
    """Wait until ``deadline`` on the monotonic clock.

    Raises ``TimeoutError``, ``WireClosed`` or ``WireGarbled``.
    """
    lengths = _receive_exactly(connection, _LENGTHS.size, deadline)
    head_bytes, body_bytes = _LENGTHS.unpack(lengths)
    if head_bytes > MAX_HEAD_BYTES or body_bytes > max_body_bytes:
        raise WireGarbled(f"a message of {head_bytes} + {body_bytes} bytes")
    head = _parsed(_receive_exactly(connection, head_bytes, deadline))
    return Frame(head, _receive_exactly(connection, body_bytes, deadline))


def receive_with_file(connection: socket.socket) -> tuple[Frame, int]:
    """Wait as long as it takes. The descriptor is the caller's to close. Raises ``WireClosed``."""
    lengths, descriptors, _, _ = socket.recv_fds(connection, _LENGTHS.size, 1)
    if not lengths:
        raise WireClosed
    head_bytes, _ = _LENGTHS.unpack(lengths)
    return Frame(_parsed(_receive_exactly(connection, head_bytes))), descriptors[0]


def _start_of(message: Frame) -> bytes:
    head = json.dumps(message.head).encode()
    return _LENGTHS.pack(len(head), len(message.body)) + head


def _left(deadline: float) -> float:
    """Never zero, which would mean not to wait at all, with an error of another kind."""
    return max(deadline - time.monotonic(), 0.001)


def _parsed(head: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(head)
    except ValueError as malformed:
        raise WireGarbled("not JSON") from malformed
    if not isinstance(parsed, dict):
        raise WireGarbled("not a JSON object")
    return parsed


def _receive_exactly(connection: socket.socket, size: int, deadline: float | None = None) -> bytes:
    received = bytearray(size)
    rest = memoryview(received)
    while rest:
        if deadline is not None:
            connection.settimeout(_left(deadline))
        count = connection.recv_into(rest)
        if count == 0:
            raise WireClosed
        rest = rest[count:]
    return bytes(received)
