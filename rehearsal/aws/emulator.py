"""The emulated AWS: moto's server in this process, behind the authorizer.

moto's state is global to the process, so a process can hold one deployment.
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
from rehearsal.aws import resource_types  # noqa: F401 - moto finds the types once imported
from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws.cloudformation import ExtendedCloudFormation

ACCOUNT = "123456789012"
"""moto's account ID."""


class EmulatedAws:
    """Runs inside a ``with``."""

    def __init__(self) -> None:
        moto = DomainDispatcherApplication(create_backend_app)
        self.authorizer = Authorizer(ExtendedCloudFormation(moto, account=ACCOUNT), account=ACCOUNT)
        self._server = make_server(
            HOST, 0, self.authorizer, threaded=True, request_handler=MotoRequestHandler
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
        """Contains ``localhost``: moto reads the first number of an IP address as a bucket name."""
        return f"http://localhost:{self._server.port}"
