"""The servers of the images: each answer is another image, or one of their failures."""

import random
import threading
import time
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Self

from local.ports import HOST
from tests.soak import serial_image

PASSING_FAILURES = 0.10
"""Of the fetches, evenly: 503, a connection that is cut off, half an image, a slow one."""
GONE, NO_IMAGE = 0.02, 0.01
"""Of the tasks, whose URL never gives an image: 404, and a web page."""
SLOW_S = (0.5, 3.0)


class SoakSource:
    """Runs inside a ``with``. What it does is drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._serials = count(1)
        self._served: defaultdict[str, set[int]] = defaultdict(set)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.port: int = self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, number: int) -> str:
        """The URL of one task's image."""
        with self._lock:
            drawn = self._random.random()
        kind = "gone" if drawn < GONE else "page" if drawn < GONE + NO_IMAGE else "image"
        return f"http://{HOST}:{self.port}/{kind}/{number}"

    def served(self, url: str) -> frozenset[int]:
        """Serials of the images that were given under the URL."""
        with self._lock:
            return frozenset(self._served[url.rpartition(f":{self.port}")[2]])

    def image_for(self, path: str) -> bytes:
        with self._lock:
            serial = next(self._serials)
            self._served[path].add(serial)
        return serial_image.encode(serial)

    def draw(self) -> float:
        with self._lock:
            return self._random.random()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, source: SoakSource) -> None:
        super().__init__((HOST, 0), _Handler)
        self.source = source

    def handle_error(self, request: object, client_address: object) -> None:
        """Workers are killed in the middle of their fetches."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        match self.path.split("/")[1]:
            case "gone":
                self._answer(404, b"")
            case "page":
                self._answer(200, b"<!doctype html><title>No image here</title>")
            case _:
                self._answer_with_image()

    def _answer_with_image(self) -> None:
        source = self.server.source
        drawn = source.draw()
        if drawn >= PASSING_FAILURES:
            self._answer(200, source.image_for(self.path))
            return
        match int(drawn / PASSING_FAILURES * 4):
            case 0:
                self._answer(503, b"")
            case 1:
                pass  # and the connection is closed
            case 2:
                body = source.image_for(self.path)
                self._answer(200, body[: len(body) // 2], length=len(body))
            case _:
                shortest, longest = SLOW_S
                time.sleep(shortest + (longest - shortest) * source.draw())
                self._answer(200, source.image_for(self.path))

    def _answer(self, status: int, body: bytes, *, length: int | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass
