"""The container's health check, ``python -I -S services/api/probe.py``: exit code 0 or 1.

It imports little, because on a busy quarter of a vCPU the imports of the application take longer
than a health check may. The variables ``API_HOST`` and ``API_PORT`` are those of the API.
"""

import os
import socket
import sys

TIMEOUT_S = 3
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
MAX_STATUS_LINE_BYTES = 1_000


def fault(host: str, port: int) -> str | None:
    """Why the server at this address is not alive, or None."""
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(REQUEST)
            status_line = connection.makefile("rb").readline(MAX_STATUS_LINE_BYTES)
    except OSError as error:
        return str(error)
    if status_line.split()[:2] != [b"HTTP/1.1", b"200"]:
        return f"the response starts with {status_line!r}"
    return None


if __name__ == "__main__":
    found = fault(os.environ.get("API_HOST", "127.0.0.1"), int(os.environ["API_PORT"]))
    sys.exit(found and f"unhealthy: {found}")
