"""The container's health check, ``python -m services.api.health``: exit code 0 or 1."""

import sys
from http import HTTPStatus
from http.client import HTTPConnection

from services.common.config import ApiConfig

TIMEOUT_S = 3
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - only compared with


def main() -> int:
    config = ApiConfig()
    host = "127.0.0.1" if config.api_host == ANY_ADDRESS else config.api_host
    connection = HTTPConnection(host, config.api_port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == HTTPStatus.OK else 1
    except OSError as failed:
        print(f"unhealthy: {failed}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
