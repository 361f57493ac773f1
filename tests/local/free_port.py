"""Ports for servers that a test starts."""

from local import ports


def free_port() -> int:
    """One that is free, and its next one too."""
    while True:
        port = ports.free_port()
        if ports.why_unusable(port + 1) is None:
            return port
