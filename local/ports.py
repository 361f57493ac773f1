"""Free ports on the loopback interface."""

import random
import socket

HOST = "127.0.0.1"


def bind_error(port: int, *, host: str = HOST) -> str | None:
    """The operating system's reason why no server can bind `port`, or None if the port is free."""
    with socket.socket() as probe:
        # Servers set this option too: a connection in TIME_WAIT does not block a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_port() -> int:
    """A free port below Linux's range for outgoing connections (32,768 and up, ip(7)).

    The kernel may assign a port of that range to a connection before the server binds it.
    """
    return next(port for port in _shuffled_ports() if bind_error(port) is None)


def free_port_pair() -> int:
    """A free port whose next port is free too."""
    return next(
        port for port in _shuffled_ports() if not (bind_error(port) or bind_error(port + 1))
    )


def _shuffled_ports() -> list[int]:
    """In random order, so that programs that search at the same time find different ports."""
    ports = range(20_000, 32_768)
    return random.sample(ports, len(ports))
