"""A server with scripted responses in place of the API, on loopback."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from taskfleet import Client
from tests.worker.fetching.loopback_source import (
    LoopbackSource,
    Responder,
    response_head,
    serving,
)

TASK: Mapping[str, Any] = {
    "taskId": "b2bfce99-4099-43fd-85b6-57d6615e93ee",
    "status": "PENDING",
    "willRetry": False,
    "inputImageUrl": "https://example.com/photo.jpg",
    "operations": [{"name": "grayscale"}],
    "createdAt": "2026-11-25T12:00:00.000Z",
    "updatedAt": "2026-11-25T12:00:00.000Z",
    "deadlineAt": "2026-11-26T12:00:00.000Z",
    "attempt": 0,
}


@contextmanager
def scripted(*responses: Responder | bytes) -> Iterator[tuple[LoopbackSource, Client]]:
    """A server that gives the responses in order, then repeats the last, and a client of it."""
    responders = [_lingering(each) if isinstance(each, bytes) else each for each in responses]
    with serving(*responders) as api, Client(api.url(""), key="test.secret") as client:
        yield api, client


def _lingering(response: bytes) -> Responder:
    """Close only after the client, because a body that is not read would reset the connection."""

    def respond(connection: socket.socket) -> None:
        connection.sendall(response)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        while connection.recv(65_536):
            pass

    return respond


def task(http_status: int = 200, /, **changes: Any) -> bytes:
    """A response with a task, which is final unless it says otherwise or is open."""
    final = changes.get("status", "PENDING") not in {"PENDING", "RUNNING"}
    return answer(http_status, {**TASK, "final": final, **changes})


def problem(http_status: int, code: str, *headers: str, **members: Any) -> bytes:
    return answer(http_status, {"code": code, "detail": f"Detail of {code}.", **members}, *headers)


def answer(http_status: int, body: Mapping[str, Any], *headers: str) -> bytes:
    data = json.dumps(body).encode()
    # The loopback source serves one request per connection.
    common = ("X-Request-Id: r-1", "Connection: close", f"Content-Length: {len(data)}")
    return response_head(http_status, *common, *headers) + data
