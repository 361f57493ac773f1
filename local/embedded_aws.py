"""An embedded AWS: moto's server in this process, on a free loopback port."""

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from local.ports import HOST

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REGION = "us-east-1"


class EmbeddedAws:
    """Runs inside a ``with`` block. All instances in a process share their data."""

    def __init__(self) -> None:
        app = _AtomicTables(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(HOST, 0, app, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self._server.port}"


class _AtomicTables:
    """Serializes calls to DynamoDB.

    DynamoDB evaluates the condition and writes in one atomic step. moto does so in two, and readers
    can see a partial write.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB"):
            return self._app(environ, start_response)
        with self._lock:
            return list(self._app(environ, start_response))


def isolated(environment: Mapping[str, str], *, endpoint_url: str) -> dict[str, str]:
    """`environment` for processes that may only use the AWS at `endpoint_url`.

    Removes the user's AWS configuration: profile, credentials, endpoints and region.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    no_proxy = ",".join(
        filter(None, (environment.get("NO_PROXY"), environment.get("no_proxy"), HOST))
    )
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
