"""The container's health check, ``python -m services.api.health``: exit code 0 or 1."""

import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from services.common.config import ApiConfig

TIMEOUT_S = 3
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - only used in a comparison


def check(host: str, port: int) -> int:
    """Return 0 if the server at this address reports that it is alive, else 1."""
    host = "127.0.0.1" if host == ANY_ADDRESS else host
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == HTTPStatus.OK else 1
    except (OSError, HTTPException) as failed:
        print(f"unhealthy: {failed}", file=sys.stderr)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    config = ApiConfig()
    sys.exit(check(config.api_host, config.api_port))
