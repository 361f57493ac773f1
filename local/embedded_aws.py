"""An AWS of one's own: moto's server in this process, on a loopback port that nobody else uses."""

from collections.abc import Mapping
from typing import Self

from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from local.ports import HOST

REGION = "us-east-1"


class EmbeddedAws:
    """Runs inside a ``with``; what was stored is forgotten afterwards."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def endpoint_url(self) -> str:
        _, port = self._server.get_host_and_port()
        return f"http://{HOST}:{port}"


def isolated(environment: Mapping[str, str], *, endpoint_url: str) -> dict[str, str]:
    """`environment` for processes that must use the AWS at `endpoint_url` and can reach no other.

    Nothing of the user's own AWS configuration is left: profile, credentials, endpoints, region.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    exceptions = [environment.get("NO_PROXY"), environment.get("no_proxy"), HOST]
    never_proxied = ",".join(filter(None, exceptions))
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": never_proxied,
        "no_proxy": never_proxied,
    }
