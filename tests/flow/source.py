"""An HTTP server for the images of the flow suite. Each test chooses the responses."""

import io
import socketserver
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from socket import MSG_PEEK, SHUT_RDWR, socket
from typing import Self

from PIL import Image

from local.ports import HOST
from testbed.waiting import DEFAULT_TIMEOUT_S
from tests.worker.fetching.loopback_source import Responder, response_head

TOKEN = "source-query-string-5d1c"
"""In the query of every URL. As secret as a presigned URL, so no log may contain it."""

TLS_HANDSHAKE = b"\x16"
"""The first byte of a TLS connection (RFC 8446 §5.1)."""


class FlowSource:
    """Runs inside a ``with``. Each URL has its own responses."""

    def __init__(self, *, host: str = HOST, port: int = 0) -> None:
        self._host = host
        self._responders: dict[str, list[Responder]] = {}
        self._numbers = count(1)
        self._server = _SourceServer((host, port), self._next_responder)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def url(self, *responses: Responder | bytes, scheme: str = "http") -> str:
        """A new URL that gives these responses in order, then repeats the last."""
        path = f"/{next(self._numbers)}/image"
        self._responders[path] = [_as_responder(response) for response in responses]
        return f"{scheme}://{self._host}:{self.port}{path}?token={TOKEN}"

    @contextmanager
    def tls(self, context: ssl.SSLContext) -> Iterator[None]:
        """Serve https on the same port meanwhile."""
        self._server.tls = context
        yield
        self._server.tls = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next_responder(self, path: str) -> Responder:
        responders = self._responders[path]
        return responders.pop(0) if len(responders) > 1 else responders[0]


class _SourceServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], next_responder: Callable[[str], Responder]
    ) -> None:
        super().__init__(address, _SourceHandler)
        self.next_responder = next_responder
        self.tls: ssl.SSLContext | None = None


class _SourceHandler(socketserver.BaseRequestHandler):
    server: _SourceServer

    def handle(self) -> None:
        # In many tests the worker hangs up or is killed.
        with suppress(OSError), self._connection() as connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536) or b"\r\n\r\n"
            path = head.split(b" ")[1].partition(b"?")[0].decode()
            self.server.next_responder(path)(connection)
            connection.shutdown(SHUT_RDWR)

    def _connection(self) -> socket:
        connection: socket = self.request
        is_tls = connection.recv(1, MSG_PEEK) == TLS_HANDSHAKE
        if self.server.tls is None or not is_tls:
            return connection
        return self.server.tls.wrap_socket(connection, server_side=True)


class HeldResponder:
    """Responds only after ``release``, so that the task keeps running."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._requested = threading.Event()
        self._released = threading.Event()

    def __call__(self, connection: socket) -> None:
        self._requested.set()
        self._released.wait(DEFAULT_TIMEOUT_S)
        connection.sendall(self._response)

    def wait_until_requested(self) -> None:
        assert self._requested.wait(DEFAULT_TIMEOUT_S), "no worker fetched the image"

    def release(self) -> None:
        self._released.set()


class RecoveringResponder:
    """Responds with 503 until ``recover``."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._recovered = threading.Event()

    def __call__(self, connection: socket) -> None:
        connection.sendall(self._response if self._recovered.is_set() else UNAVAILABLE)

    def recover(self) -> None:
        self._recovered.set()


UNAVAILABLE = response_head(503, "Content-Length: 0")


def endless(connection: socket) -> None:
    """Send a body that never ends."""
    connection.sendall(response_head(200, "Content-Type: image/png"))
    while True:
        connection.sendall(bytes(65_536))


def drip(connection: socket) -> None:
    """Send an image at one byte per second."""
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
    """A valid square PNG of black pixels, a thousandth of the size of its pixels."""
    zeros = side * (side + 1)  # the pixels, and one filter byte per row
    rows = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    row = rows.compress(bytes(side + 1)) + rows.flush(zlib.Z_FULL_FLUSH)
    adler32_of_zeros = (zeros % 65_521) << 16 | 1
    data = b"\x78\xda" + row * side + b"\x03\x00" + struct.pack(">I", adler32_of_zeros)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _as_responder(response: Responder | bytes) -> Responder:
    if isinstance(response, bytes):
        return lambda connection: connection.sendall(response)
    return response
