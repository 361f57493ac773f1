"""An image's server on loopback, as friendly or as hostile as the test writes it."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

Answer = Callable[[socket.socket], None]
"""Gets the connection once the request's head has been read; it is closed afterwards."""


class LoopbackSource:
    """Serves one answer to each connection, in order, and the last of them ever after."""

    def __init__(
        self,
        listener: socket.socket,
        answers: list[Answer],
        *,
        tls: ssl.SSLContext | None,
        reads_head: bool,
    ) -> None:
        self._listener = listener
        self._answers = answers
        self._tls = tls
        self._reads_head = reads_head
        self.port: int = listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []

    def url(self, path: str = "/image.png", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def serve(self) -> None:
        """Accept until the listener is shut down, then wait for the last answer's end."""
        threads = []
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                answer = self._answers[min(self.connections, len(self._answers) - 1)]
                self.connections += 1
                threads.append(Thread(target=self._serve_one, args=(connection, answer)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve_one(self, connection: socket.socket, answer: Answer) -> None:
        with connection, suppress(OSError):  # a client that hangs up is what is often wanted
            if self._tls is not None:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._answer(secured, answer)
            else:
                self._answer(connection, answer)

    def _answer(self, connection: socket.socket, answer: Answer) -> None:
        head = b""
        while self._reads_head and b"\r\n\r\n" not in head:
            received = connection.recv(65_536)
            if not received:
                return
            head += received
        self.requests.append(head)
        answer(connection)


@contextmanager
def serving(
    *answers: Answer | bytes,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    reads_head: bool = True,
) -> Iterator[LoopbackSource]:
    """A running source; an answer of bytes is sent whole.

    Without ``reads_head`` the answer starts as soon as the connection is up.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        source = LoopbackSource(
            listener, [_as_answer(answer) for answer in answers], tls=tls, reads_head=reads_head
        )
        thread = Thread(target=source.serve)
        thread.start()
        try:
            yield source
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _as_answer(answer: Answer | bytes) -> Answer:
    if isinstance(answer, bytes):
        return lambda connection: connection.sendall(answer)
    return answer


def ok(body: bytes, *headers: str) -> bytes:
    """A whole 200 answer."""
    return answer_head(200, f"Content-Length: {len(body)}", *headers) + body


def answer_head(status: int, *headers: str) -> bytes:
    """Status line and headers."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode()


def redirect(location: str, status: int = 302) -> bytes:
    """A redirect without a body."""
    return answer_head(status, f"Location: {location}", "Content-Length: 0")
