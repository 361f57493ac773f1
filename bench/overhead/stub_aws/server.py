"""HTTP server of the stub: the JSON protocols of SQS, DynamoDB and Secrets Manager, PUT of S3, and
images."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from bench.overhead.stub_aws.queue import StubQueue
from bench.overhead.stub_aws.table import StubTable
from local.ports import HOST

IMAGES = "/images/"
Request = Mapping[str, Any]


class StubAws:
    """Runs inside a ``with`` block. It has one table, one queue and one secret.

    It serves the files of the folder `images` under the path ``IMAGES``. `calls` counts the calls
    by operation.
    """

    def __init__(self, *, images: Path, secret: str) -> None:
        self._images = {path.name: path.read_bytes() for path in images.iterdir()}
        self._secret = secret
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.table = StubTable()
        self.queue = StubQueue()
        self._operations: Mapping[str, Callable[[Request], Mapping[str, Any]]] = {
            "SendMessage": lambda request: self.queue.send(request["MessageBody"]),
            "ReceiveMessage": self.queue.receive,
            "DeleteMessage": lambda _: self.queue.delete(),
            "ChangeMessageVisibility": lambda _: {},  # a heartbeat; the stub has no timeouts
            "GetQueueAttributes": lambda _: {"Attributes": self.queue.attributes()},
            "PutItem": lambda request: self.table.put(request["Item"]),
            "UpdateItem": lambda request: {"Attributes": self.table.update(request)},
            "GetItem": lambda request: self.table.get(request["Key"]["taskId"]["S"]),
            "GetSecretValue": lambda _: {"SecretString": self._secret},
        }
        self._server = _StubServer(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def image_url(self, name: str) -> str:
        return f"{self.endpoint_url}{IMAGES}{name}"

    def image(self, name: str) -> bytes:
        self._count("GetImage")
        return self._images[name]

    def put_object(self) -> None:
        """Counts the object without storing it: thousands would fill the memory."""
        self._count("PutObject")

    def call(self, operation: str, request: Request) -> Mapping[str, Any]:
        self._count(operation)
        return self._operations[operation](request)

    def _count(self, operation: str) -> None:
        with self._lock:
            self.calls[operation] += 1


class _StubServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients may keep connections open after the server closes

    def __init__(self, aws: StubAws) -> None:
        super().__init__((HOST, 0), _StubHandler)
        self.aws = aws

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # from clients that have been stopped
            super().handle_error(request, client_address)


class _StubHandler(BaseHTTPRequestHandler):
    server: _StubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    """Buffered, so that headers and body leave together, as from a production server."""

    def handle_expect_100(self) -> bool:
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        response = self.server.aws.call(operation, json.loads(self._body()))
        self._send(json.dumps(response).encode(), **{"Content-Type": "application/x-amz-json-1.0"})

    def do_PUT(self) -> None:
        self._body()
        self.server.aws.put_object()
        self._send(b"", ETag='"0123456789abcdef0123456789abcdef"')

    def do_GET(self) -> None:
        # Real images come from many hosts, so connections are not reused.
        self._send(self.server.aws.image(self.path.removeprefix(IMAGES)), Connection="close")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _send(self, body: bytes, **headers: str) -> None:
        self.send_response_only(HTTPStatus.OK)
        self.send_header("x-amzn-RequestId", "01234567-89ab-cdef-0123-456789abcdef")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
