"""Connections to where a stranger's URL points: checked, pinned and bounded.

The name is looked up once and every answer has to be permitted. The socket then connects to one
of the very addresses that were checked, and its real peer is compared once it is up. A
connection serves a single exchange and cannot reconnect, so no request ever travels on a socket
that was checked for another. No proxy, cookie or netrc file is consulted.
"""

import io
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, parse_headers
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

from services.common.source_url import DEFAULT_PORTS, SourceUrl
from services.worker.fetching.addresses import AddressPolicy, IPAddress
from services.worker.fetching.deadline import Deadline
from services.worker.fetching.name_lookup import Resolve, look_up

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

Connect = Callable[[IPAddress, int, float], socket.socket]
"""A TCP connection to an address and port within so many seconds, or OSError."""

MAX_ATTEMPTS = 4
"""Addresses of one name that are tried: enough for a second protocol family and a dead host."""


class ConnectionNotAllowed(Exception):
    """The policy forbids the port or the address. The message is a sentence for a person."""


class AnswerTooLarge(Exception):
    """The other side sent more bytes, headers and framing included, than it may."""


def connect_tcp(address: IPAddress, port: int, timeout_s: float) -> socket.socket:
    """Open a socket as the system does it."""
    return socket.create_connection((str(address), port), timeout=timeout_s)


@dataclass(frozen=True, kw_only=True)
class GuardedConnector:
    """Opens connections that the policy permits; shared by threads, as it keeps no state."""

    addresses: AddressPolicy
    ports: Sequence[int]
    resolve: Resolve
    connect: Connect
    tls: ssl.SSLContext

    def open(
        self, url: SourceUrl, *, deadline: Deadline, max_answer_bytes: int
    ) -> "GuardedConnection":
        """A connection for one exchange, which the deadline and the byte limit keep bounding.

        Raises ConnectionNotAllowed, TimeoutError, ssl.SSLError, socket.gaierror or another
        OSError. What the connection raises later is HTTPException, AnswerTooLarge or OSError.
        """
        if url.port not in self.ports:
            allowed = ", ".join(map(str, self.ports))
            raise ConnectionNotAllowed(f"The URL's port is not allowed; allowed are: {allowed}.")
        addresses = self._permitted_addresses(url, deadline)
        with ExitStack() as unless_opened:
            sock = unless_opened.enter_context(self._connect_to_one(addresses, url.port, deadline))
            if url.scheme == "https":
                sock.settimeout(deadline.remaining_s())  # bounds the handshake as a whole
                sock = unless_opened.enter_context(
                    self.tls.wrap_socket(sock, server_hostname=url.host)
                )
            unless_opened.pop_all()
        return GuardedConnection(url, BoundedSocket(sock, deadline, max_answer_bytes))

    def _permitted_addresses(self, url: SourceUrl, deadline: Deadline) -> Sequence[IPAddress]:
        if url.address is not None:
            addresses: Sequence[IPAddress] = (url.address,)
        else:
            addresses = look_up(url.host, resolve=self.resolve, deadline=deadline)
        # A name with public and private addresses is an attempt at rebinding or a mistake.
        if not all(map(self.addresses.permits, addresses)):
            raise ConnectionNotAllowed("The URL leads to an address that is not public.")
        return addresses

    def _connect_to_one(
        self, addresses: Sequence[IPAddress], port: int, deadline: Deadline
    ) -> socket.socket:
        failure = OSError("The name has no address.")
        attempts = addresses[:MAX_ATTEMPTS]
        for already_tried, address in enumerate(attempts):
            share_s = deadline.remaining_s() / (len(attempts) - already_tried)
            try:
                return self._connect_to(address, port, share_s)
            except OSError as error:
                failure = error
        raise failure

    def _connect_to(self, address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        with ExitStack() as unless_verified:
            sock = unless_verified.enter_context(self.connect(address, port, timeout_s))
            _verify_peer(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            unless_verified.pop_all()
        return sock


def _verify_peer(sock: socket.socket, address: IPAddress) -> None:
    """What lies between us and the network may redirect a connection; believe the socket."""
    if ip_address(sock.getpeername()[0]) != address:
        raise ConnectionNotAllowed("The connection led to another address than the one checked.")


class _FinalResponse(HTTPResponse):
    """Passes over all interim answers, 103 (Early Hints) for instance.

    RFC 9110 §15.2 asks for it; http.client by itself knows only 100.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc] # not in typeshed
        while HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK:
            parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, status, reason


class GuardedConnection(HTTPConnection):
    """HTTP on a socket that was checked. Once that is closed, it does not open another."""

    auto_open = 0
    response_class = _FinalResponse

    def __init__(self, url: SourceUrl, sock: "BoundedSocket") -> None:
        super().__init__(url.host, url.port)
        self.default_port = DEFAULT_PORTS[url.scheme]  # which the Host header leaves out
        self.sock = cast("socket.socket", sock)


class BoundedSocket:
    """What http.client needs of a socket, with a deadline for all of it and not for each read.

    A timeout per read never ends a peer that sends one byte a second.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, max_received_bytes: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._max_received_bytes = max_received_bytes

    def sendall(self, data: "ReadableBuffer") -> None:
        self._sock.settimeout(self._deadline.remaining_s())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(
            _BoundedReader(self._sock, self._deadline, self._max_received_bytes)
        )

    def close(self) -> None:
        self._sock.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._bytes_left = max_bytes
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until it is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._deadline.remaining_s())
        received = self._raw.readinto(buffer)
        self._bytes_left -= received or 0
        if self._bytes_left < 0:
            raise AnswerTooLarge
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()
