"""The smallest HTTP/1.1 server that boto3, urllib3 and curl accept."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_HEAD_END = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    body: bytes = b""
    status: int = 200
    headers: bytes = b""
    """Further header lines, each ending with CRLF."""
    close: bool = False
    """Close the connection afterwards, as the servers of real source images often do."""

    def encode(self) -> bytes:
        return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s%s\r\n%s" % (
            self.status,
            _REASONS[self.status],
            len(self.body),
            self.headers,
            b"Connection: close\r\n" if self.close else b"",
            self.body,
        )


class Reply:
    """Sends the response to one request, once, now or later."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def is_wanted(self) -> bool:
        """Whether the client is still connected."""
        return not self._transport.is_closing()

    def send(self, response: Response) -> None:
        if self.is_wanted():
            self._transport.write(response.encode())
            if response.close:
                self._transport.close()


Handler = Callable[[Request, Reply], None]


class Connection(asyncio.Protocol):
    """One connection. Its client waits for a response before it sends the next request."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            self._take_head()
        if self._head is not None:
            self._take_body(*self._head)

    def _take_head(self) -> None:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        request_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = request_line.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        del self._buffer[: end + len(_HEAD_END)]
        self._head = (method, path, headers)
        if "expect" in headers:
            self._transport.write(_CONTINUE)

    def _take_body(self, method: str, path: str, headers: dict[str, str]) -> None:
        size = int(headers.get("content-length", 0))
        if len(self._buffer) >= size:
            body = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._head = None
            self._handle(Request(method, path, headers, body), Reply(self._transport))
