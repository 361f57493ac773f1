"""The HTTP side of it: the JSON protocols of SQS, DynamoDB and Secrets Manager, S3's PUT, and
images to fetch."""

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
    """Runs inside a ``with``. Serves the files of a folder under ``IMAGES``, one secret, one
    table and one queue; `calls` counts each operation by its name."""

    def __init__(self, *, images: Path, secret: str) -> None:
        self._images = {path.name: path.read_bytes() for path in images.iterdir()}
        self._secret = secret
        self._counting = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.table = StubTable()
        self.queue = StubQueue()
        self._answers: Mapping[str, Callable[[Request], Mapping[str, Any]]] = {
            "SendMessage": lambda request: self.queue.send(request["MessageBody"]),
            "ReceiveMessage": self.queue.receive,
            "DeleteMessage": lambda _: self.queue.delete(),
            "ChangeMessageVisibility": lambda _: {},  # a heartbeat: nothing here times out
            "GetQueueAttributes": lambda _: {"Attributes": self.queue.attributes()},
            "PutItem": lambda request: self.table.put(request["Item"]),
            "UpdateItem": lambda request: {"Attributes": self.table.update(request)},
            "GetItem": lambda request: self.table.get(request["Key"]["taskId"]["S"]),
            "GetSecretValue": lambda _: {"SecretString": self._secret},
        }
        self._server = _Server(self)

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
        """It is counted and forgotten: thousands of them would fill the memory."""
        self._count("PutObject")

    def answer(self, operation: str, request: Request) -> Mapping[str, Any]:
        self._count(operation)
        return self._answers[operation](request)

    def _count(self, operation: str) -> None:
        with self._counting:
            self.calls[operation] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # connections are kept alive by clients that may outlive this

    def __init__(self, aws: StubAws) -> None:
        super().__init__((HOST, 0), _Handler)
        self.aws = aws

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # of a client that was ended
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    """Head and body leave together, as from any server that is in earnest."""

    def handle_expect_100(self) -> bool:
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        answer = self.server.aws.answer(operation, json.loads(self._body()))
        self._send(json.dumps(answer).encode(), **{"Content-Type": "application/x-amz-json-1.0"})

    def do_PUT(self) -> None:
        self._body()
        self.server.aws.put_object()
        self._send(b"", ETag='"0123456789abcdef0123456789abcdef"')

    def do_GET(self) -> None:
        # Images come from many hosts: there is no connection to be used again.
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
