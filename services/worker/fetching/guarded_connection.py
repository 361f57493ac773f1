"""Connections to the host of an untrusted URL, with checked addresses and bounded responses.

The name is looked up once, and all of its addresses must be permitted. The socket connects to one
of the checked addresses, and its actual peer is compared with that address. A connection serves one
request and cannot reconnect, so no request uses a socket that was checked for another one. Proxies,
cookies and netrc files are ignored.
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
"""Opens a TCP connection to an address and a port within a timeout in seconds. Raises OSError."""

MAX_ADDRESSES = 4
"""How many addresses of a name are tried: enough for two protocol families and a dead host."""


class ConnectionNotAllowed(Exception):
    """The policy forbids the port or the address. The message is a sentence for the client."""


class ResponseTooLarge(Exception):
    """The server sent more bytes than allowed, including headers and framing."""


def connect_tcp(address: IPAddress, port: int, timeout_s: float) -> socket.socket:
    """Open a plain TCP connection."""
    return socket.create_connection((str(address), port), timeout=timeout_s)


@dataclass(frozen=True, kw_only=True)
class GuardedConnector:
    """Opens connections that the policy permits. Stateless, so threads may share it."""

    addresses: AddressPolicy
    ports: Sequence[int]
    resolve: Resolve
    connect: Connect
    tls: ssl.SSLContext

    def open(
        self, url: SourceUrl, *, deadline: Deadline, max_response_bytes: int
    ) -> "GuardedConnection":
        """Open a connection for one request. The deadline and the byte limit also bound its use.

        Raises ConnectionNotAllowed, TimeoutError, ssl.SSLError, socket.gaierror or another
        OSError. The connection itself raises HTTPException, ResponseTooLarge or OSError.
        """
        if url.port not in self.ports:
            allowed = ", ".join(map(str, self.ports))
            raise ConnectionNotAllowed(
                f"The URL's port is not allowed. The allowed ports are: {allowed}."
            )
        addresses = self._permitted_addresses(url, deadline)
        with ExitStack() as on_error:
            sock = on_error.enter_context(self._connect_to_any(addresses, url.port, deadline))
            if url.scheme == "https":
                sock.settimeout(deadline.remaining_s())  # applies to the whole handshake
                sock = on_error.enter_context(self.tls.wrap_socket(sock, server_hostname=url.host))
            on_error.pop_all()
        return GuardedConnection(url, BoundedSocket(sock, deadline, max_response_bytes))

    def _permitted_addresses(self, url: SourceUrl, deadline: Deadline) -> Sequence[IPAddress]:
        if url.address is not None:
            addresses: Sequence[IPAddress] = (url.address,)
        else:
            addresses = look_up(url.host, resolve=self.resolve, deadline=deadline)
        # A name with public and private addresses is a DNS rebinding attack or a mistake.
        if not all(map(self.addresses.permits, addresses)):
            raise ConnectionNotAllowed("The URL leads to an address that is not public.")
        return addresses

    def _connect_to_any(
        self, addresses: Sequence[IPAddress], port: int, deadline: Deadline
    ) -> socket.socket:
        last_error = OSError("The name has no address.")
        candidates = addresses[:MAX_ADDRESSES]
        for already_tried, address in enumerate(candidates):
            timeout_s = deadline.remaining_s() / (len(candidates) - already_tried)
            try:
                return self._connect_to(address, port, timeout_s)
            except OSError as error:
                last_error = error
        raise last_error

    def _connect_to(self, address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        with ExitStack() as on_error:
            sock = on_error.enter_context(self.connect(address, port, timeout_s))
            _verify_peer(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            on_error.pop_all()
        return sock


def _verify_peer(sock: socket.socket, address: IPAddress) -> None:
    """Compare the peer with the checked address, in case something redirects connections."""
    if ip_address(sock.getpeername()[0]) != address:
        raise ConnectionNotAllowed("The connection leads to another address than the checked one.")


class _FinalResponse(HTTPResponse):
    """Skips all interim responses, such as 103 (Early Hints).

    RFC 9110 §15.2 requires this, but http.client skips only 100.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc] # not in typeshed
        while HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK:
            parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, status, reason


class GuardedConnection(HTTPConnection):
    """HTTP on a checked socket. It does not reconnect after the socket is closed."""

    auto_open = 0
    response_class = _FinalResponse

    def __init__(self, url: SourceUrl, sock: "BoundedSocket") -> None:
        super().__init__(url.host, url.port)
        self.default_port = DEFAULT_PORTS[url.scheme]  # omitted in the Host header
        self.sock = cast("socket.socket", sock)


class BoundedSocket:
    """The part of a socket that http.client uses, with one deadline for all reads and writes.

    A timeout for each read would never stop a peer that sends one byte per second.
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
        self._remaining_bytes = max_bytes
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until closed itself

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._deadline.remaining_s())
        received = self._raw.readinto(buffer)
        self._remaining_bytes -= received or 0
        if self._remaining_bytes < 0:
            raise ResponseTooLarge
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()
