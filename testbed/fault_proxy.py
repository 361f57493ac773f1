"""A proxy in front of an AWS on loopback that injects faults into calls.

The caller chooses the fault of each call. Calls keep their Host header, so signatures and presigned
URLs stay valid.
"""

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

import urllib3

from local.ports import HOST

_HOP_BY_HOP_HEADERS = {"connection", "expect", "keep-alive", "transfer-encoding", "content-length"}
_LINGER_0_S = struct.pack("ii", 1, 0)
"""A value of SO_LINGER with which closing a socket sends a reset (socket(7))."""


@dataclass(frozen=True, slots=True)
class AwsCall:
    """A request to AWS. `operation` is its name in the service's API, approximated for S3."""

    operation: str
    body: bytes
    method: str = field(repr=False)
    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class ResetConnection(Exception):
    """Raised by a fault to reset the caller's connection instead of responding."""


Fault = Callable[[AwsCall, Callable[[], Reply]], Reply]
"""Takes a call and a function that forwards it to AWS. Returns the reply that the caller gets."""


def no_fault(call: AwsCall, forward: Callable[[], Reply]) -> Reply:  # noqa: ARG001 - a Fault
    return forward()


class FaultProxy:
    """Runs inside a ``with``. `fault_for` chooses the fault of each call, in any thread."""

    def __init__(self, upstream: str, *, fault_for: Callable[[AwsCall], Fault]) -> None:
        self.fault_for = fault_for
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=60)
        self._upstream = upstream
        self._server = _ProxyServer(self.reply_to)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.clear()

    def reply_to(self, call: AwsCall) -> Reply:
        return self.fault_for(call)(call, lambda: self._forward(call))

    def _forward(self, call: AwsCall) -> Reply:
        try:
            response = self._http.request(
                call.method,
                f"{self._upstream}{call.path}",
                body=call.body,
                headers=dict(call.headers),
                redirect=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ResetConnection from error
        return Reply(response.status, response.data, response.headers)


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply_to: Callable[[AwsCall], Reply]) -> None:
        super().__init__((HOST, 0), _ProxyHandler)
        self.reply_to = reply_to

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: tests kill callers in the middle of calls."""


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _ProxyServer

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        try:
            reply = self.server.reply_to(self._read_call())
        except ResetConnection:
            self._reset()
            return
        self._send(reply)

    def handle_expect_100(self) -> bool:
        """Flush the interim response, or the caller waits a second before it sends the body."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def _read_call(self) -> AwsCall:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _HOP_BY_HOP_HEADERS
        }
        operation = _operation(self.command, self.path, headers)
        return AwsCall(operation, body, self.command, self.path, headers)

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in _HOP_BY_HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0_S)
            self.connection.close()


def _operation(method: str, path: str, headers: Mapping[str, str]) -> str:
    target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
    if target:  # for instance DynamoDB_20120810.UpdateItem, AmazonSQS.SendMessage
        return target.rpartition(".")[2]
    is_object = urlsplit(path).path.strip("/").count("/") > 0
    return f"{method.title()}Object" if is_object else f"{method.title()}Bucket"
