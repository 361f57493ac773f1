"""Whether a port can be had, asked before anything is started."""

import socket

HOST = "127.0.0.1"


def why_unusable(port: int) -> str | None:
    """The operating system's reason why nothing can listen on `port`; None when it is free."""
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run that lingers in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
