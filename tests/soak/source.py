"""An HTTP server for the images of the soak. Each response is a different image or a failure."""

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

TRANSIENT_FAILURES = 0.10
"""Share of fetches that fail: 503, a closed connection, half an image or a slow response, in equal
parts."""
MISSING, PAGES = 0.02, 0.01
"""Shares of tasks whose URL never serves an image: a 404, or a web page."""
SLOW_S = (0.5, 3.0)


class SoakSource:
    """Runs inside a ``with``. `seed` determines the sequence of failures."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._serials = count(1)
        self._served: defaultdict[str, set[int]] = defaultdict(set)
        self._server = _SoakServer(self)
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
        """The URL of a task's image."""
        sample = self.sample()
        if sample < MISSING:
            kind = "missing"
        elif sample < MISSING + PAGES:
            kind = "page"
        else:
            kind = "image"
        return f"http://{HOST}:{self.port}/{kind}/{number}"

    def served(self, url: str) -> frozenset[int]:
        """The serial numbers of all images that were served under this URL."""
        with self._lock:
            return frozenset(self._served[url.rpartition(f":{self.port}")[2]])

    def next_image(self, path: str) -> bytes:
        with self._lock:
            serial = next(self._serials)
            self._served[path].add(serial)
        return serial_image.encode(serial)

    def sample(self) -> float:
        """A random number from [0, 1)."""
        with self._lock:
            return self._random.random()


class _SoakServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, source: SoakSource) -> None:
        super().__init__((HOST, 0), _SoakHandler)
        self.source = source

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: workers are killed in the middle of fetches."""


class _SoakHandler(BaseHTTPRequestHandler):
    server: _SoakServer

    def do_GET(self) -> None:
        match self.path.split("/")[1]:
            case "missing":
                self._respond(404, b"")
            case "page":
                self._respond(200, b"<!doctype html><title>No image here</title>")
            case _:
                self._respond_with_image()

    def _respond_with_image(self) -> None:
        source = self.server.source
        sample = source.sample()
        if sample >= TRANSIENT_FAILURES:
            self._respond(200, source.next_image(self.path))
            return
        match int(sample / TRANSIENT_FAILURES * 4):
            case 0:
                self._respond(503, b"")
            case 1:
                pass  # the connection is closed without a response
            case 2:
                body = source.next_image(self.path)
                self._respond(200, body[: len(body) // 2], length=len(body))
            case _:
                shortest, longest = SLOW_S
                time.sleep(shortest + (longest - shortest) * source.sample())
                self._respond(200, source.next_image(self.path))

    def _respond(self, status: int, body: bytes, *, length: int | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass
