"""Ports for servers that a test starts."""

import socket

from local.ports import HOST, why_unusable


def free_port() -> int:
    """One that is free, and its next one too."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if why_unusable(port) is None and why_unusable(port + 1) is None:
            return port
