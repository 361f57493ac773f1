"""The server of the images that tasks name, as friendly or as hostile as each test writes it."""

import io
import socketserver
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from socket import SHUT_RDWR, socket
from typing import Self

from PIL import Image

from local.ports import HOST
from testbed.waiting import DEFAULT_TIMEOUT_S
from tests.worker.fetching.loopback_source import Responder, response_head

TOKEN = "source-query-string-5d1c"
"""In the query of every URL; as private as a presigned one, so no log may show it."""


class Source:
    """Runs inside a ``with``. Each path that was handed out has its own answers."""

    def __init__(self) -> None:
        self._answers: dict[str, list[Responder]] = {}
        self._numbers = count(1)
        self._server = _Server(self._answer)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def url(self, *answers: Responder | bytes) -> str:
        """A new URL that gives these answers in turn, and the last of them ever after."""
        path = f"/{next(self._numbers)}/image"
        self._answers[path] = [_as_answer(answer) for answer in answers]
        return f"http://{HOST}:{self.port}{path}?token={TOKEN}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str) -> Responder:
        answers = self._answers[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Callable[[str], Responder]) -> None:
        super().__init__((HOST, 0), _Handler)
        self.answer = answer


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        connection: socket = self.request
        with suppress(OSError):  # a worker that hangs up, or dies, is what is often wanted
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536) or b"\r\n\r\n"
            path = head.split(b" ")[1].partition(b"?")[0].decode()
            self.server.answer(path)(connection)
            connection.shutdown(SHUT_RDWR)


class Held:
    """Answers only when it is let go, so that a task stays under way."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._arrived = threading.Event()
        self._go_on = threading.Event()

    def __call__(self, connection: socket) -> None:
        self._arrived.set()
        self._go_on.wait(DEFAULT_TIMEOUT_S)
        connection.sendall(self._answer)

    def wait_until_asked(self) -> None:
        assert self._arrived.wait(DEFAULT_TIMEOUT_S), "nobody fetched the image"

    def let_go(self) -> None:
        self._go_on.set()


class Recovering:
    """503 until it recovers."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._recovered = threading.Event()

    def __call__(self, connection: socket) -> None:
        connection.sendall(self._answer if self._recovered.is_set() else UNAVAILABLE)

    def recover(self) -> None:
        self._recovered.set()


UNAVAILABLE = response_head(503, "Content-Length: 0")


def endless(connection: socket) -> None:
    """A body that never ends, as fast as it is taken."""
    connection.sendall(response_head(200, "Content-Type: image/png"))
    while True:
        connection.sendall(bytes(65_536))


def drip(connection: socket) -> None:
    """One byte a second of an image."""
    image = png()
    connection.sendall(response_head(200, f"Content-Length: {len(image)}"))
    for byte in image:
        connection.sendall(bytes([byte]))
        time.sleep(1)


def png(color: tuple[int, int, int] = (200, 30, 60), size: tuple[int, int] = (8, 6)) -> bytes:
    return encoded(Image.new("RGB", size, color), "PNG")


def encoded(image: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format)
    return file.getvalue()


def bomb(side: int = 50_000) -> bytes:
    """A square PNG of black pixels, sound to the last byte, in a thousandth of its size."""
    zeros = side * (side + 1)  # the pixels, and a filter type before each row
    rows = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    row = rows.compress(bytes(side + 1)) + rows.flush(zlib.Z_FULL_FLUSH)
    adler32_of_zeros = (zeros % 65_521) << 16 | 1
    data = b"\x78\xda" + row * side + b"\x03\x00" + struct.pack(">I", adler32_of_zeros)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _as_answer(answer: Responder | bytes) -> Responder:
    if isinstance(answer, bytes):
        return lambda connection: connection.sendall(answer)
    return answer
