"""An AWS to deploy to: moto's server in this process, behind the gate.

moto's state belongs to the process: one deployment for each.
"""

import threading
from typing import Self

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from local.ports import HOST
from rehearsal.aws import resource_types  # noqa: F401 - moto finds them once imported
from rehearsal.aws.cloudformation import CompletedCloudFormation
from rehearsal.aws.gate import Gate

ACCOUNT = "123456789012"
"""The account that moto plays."""


class EmulatedAws:
    """Runs inside a ``with``."""

    def __init__(self) -> None:
        moto = DomainDispatcherApplication(create_backend_app)
        self.gate = Gate(CompletedCloudFormation(moto, account=ACCOUNT), account=ACCOUNT)
        self._server = make_server(
            HOST, 0, self.gate, threaded=True, request_handler=MotoRequestHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="aws", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint_url(self) -> str:
        """By name: moto takes the first number of an address for the name of a bucket."""
        return f"http://localhost:{self._server.port}"
