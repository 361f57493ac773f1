"""An HTTP server for images on loopback. Each test chooses its responses, valid or hostile."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

Responder = Callable[[socket.socket], None]
"""Writes a response to a connection whose request head has been read. The server closes it."""


class LoopbackSource:
    """Gives the responses in order, one for each connection, then repeats the last."""

    def __init__(
        self,
        listener: socket.socket,
        responders: list[Responder],
        *,
        tls: ssl.SSLContext | None,
        reads_head: bool,
    ) -> None:
        self._listener = listener
        self._responders = responders
        self._tls = tls
        self._reads_head = reads_head
        self.port: int = listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []

    def url(self, path: str = "/image.png", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def serve(self) -> None:
        """Accept connections until the listener shuts down, then wait for open responses."""
        threads = []
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                responder = self._responders[min(self.connections, len(self._responders) - 1)]
                self.connections += 1
                threads.append(Thread(target=self._serve_one, args=(connection, responder)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve_one(self, connection: socket.socket, responder: Responder) -> None:
        with connection, suppress(OSError):  # in many tests the client hangs up
            if self._tls is not None:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._respond(secured, responder)
            else:
                self._respond(connection, responder)

    def _respond(self, connection: socket.socket, responder: Responder) -> None:
        head = b""
        while self._reads_head and b"\r\n\r\n" not in head:
            received = connection.recv(65_536)
            if not received:
                return
            head += received
        self.requests.append(head)
        responder(connection)


@contextmanager
def serving(
    *responses: Responder | bytes,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    reads_head: bool = True,
) -> Iterator[LoopbackSource]:
    """A running source. A response of bytes is sent as it is.

    Without ``reads_head`` the response starts as soon as the connection is open.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        source = LoopbackSource(
            listener,
            [_to_responder(response) for response in responses],
            tls=tls,
            reads_head=reads_head,
        )
        thread = Thread(target=source.serve)
        thread.start()
        try:
            yield source
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _to_responder(response: Responder | bytes) -> Responder:
    if isinstance(response, bytes):
        return lambda connection: connection.sendall(response)
    return response


def ok(body: bytes, *headers: str) -> bytes:
    """A complete 200 response."""
    return response_head(200, f"Content-Length: {len(body)}", *headers) + body


def response_head(status: int, *headers: str) -> bytes:
    """The status line and the headers."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode()


def redirect(location: str, status: int = 302) -> bytes:
    """A redirect without a body."""
    return response_head(status, f"Location: {location}", "Content-Length: 0")
