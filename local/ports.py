"""Whether a port can be had, asked before anything is started."""

import random
import socket

HOST = "127.0.0.1"


def why_unusable(port: int, *, host: str = HOST) -> str | None:
    """The operating system's reason why nothing can listen on `port`; None when it is free."""
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run that lingers in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_port() -> int:
    """A port to listen on, now and after a restart.

    From below Linux's range for outgoing connections (32,768 up, ip(7)): a port of that range may
    be another's local end by the time it is bound.
    """
    return next(port for port in _shuffled(range(20_000, 32_768)) if why_unusable(port) is None)


def _shuffled(ports: range) -> list[int]:
    """Or programs that look at the same time would find the same port."""
    return random.sample(ports, len(ports))
