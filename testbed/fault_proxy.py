"""A proxy in front of an AWS on loopback that lets its calls go wrong, as they do.

It is told for each call what becomes of it. The call keeps its Host header, so signatures and
presigned URLs stay valid.
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

_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "content-length"}
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for 0 s: closing sends a reset (socket(7))."""


@dataclass(frozen=True, slots=True)
class AwsCall:
    """One request to AWS. `operation` is its name in the service's API, as far as we use it."""

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


class ConnectionBroken(Exception):
    """Raised by a fault: the caller's connection is reset instead of an answer."""


Fault = Callable[[AwsCall, Callable[[], Reply]], Reply]
"""What becomes of a call. The function it is given lets AWS do it; its reply is what the caller
gets."""


def no_fault(call: AwsCall, forward: Callable[[], Reply]) -> Reply:  # noqa: ARG001 - a Fault
    return forward()


class FaultProxy:
    """Runs inside a ``with``. `fault_for` is asked for each call, from any thread."""

    def __init__(self, upstream: str, *, fault_for: Callable[[AwsCall], Fault]) -> None:
        self.fault_for = fault_for
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=60)
        self._upstream = upstream
        self._server = _Server(self.reply_to)
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
            answer = self._http.request(
                call.method,
                f"{self._upstream}{call.path}",
                body=call.body,
                headers=dict(call.headers),
                redirect=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as failed:
            raise ConnectionBroken from failed
        return Reply(answer.status, answer.data, answer.headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply_to: Callable[[AwsCall], Reply]) -> None:
        super().__init__((HOST, 0), _Handler)
        self.reply_to = reply_to

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        try:
            reply = self.server.reply_to(self._call())
        except ConnectionBroken:
            self._reset()
            return
        self._answer(reply)

    def handle_expect_100(self) -> bool:
        """Answer at once, or a caller that asks before it sends a body waits for a second."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def _call(self) -> AwsCall:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        return AwsCall(
            _operation(self.command, self.path, kept), body, self.command, self.path, kept
        )

    def _answer(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()


def _operation(method: str, path: str, headers: Mapping[str, str]) -> str:
    target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
    if target:  # for instance DynamoDB_20120810.UpdateItem, AmazonSQS.SendMessage
        return target.rpartition(".")[2]
    is_object = urlsplit(path).path.strip("/").count("/") > 0
    return f"{method.title()}Object" if is_object else f"{method.title()}Bucket"
