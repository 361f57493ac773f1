"""The API as deployed: a gunicorn process with its settings, on a loopback port."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from local.embedded_aws import isolated
from local.ports import HOST
from testbed.waiting import DEFAULT_TIMEOUT_S


@dataclass
class Gunicorn:
    process: subprocess.Popen[str]
    port: int = 0
    lines: list[str] = field(default_factory=list)
    listening: threading.Event = field(default_factory=threading.Event)

    def collect(self) -> None:
        """Read the process's output until it exits."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"Listening at: http://[^:]+:(\d+)", line):
                self.port = int(found[1])
                self.listening.set()

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=DEFAULT_TIMEOUT_S)

    @contextmanager
    def sending(self, data: bytes) -> Iterator[socket.socket]:
        """A connection on which `data` has been sent."""
        with self.connect() as connection:
            connection.sendall(data)
            yield connection

    def raw(self, data: bytes) -> tuple[int, dict[str, str], Any]:
        """Send the bytes `data`. Returns the status, headers and JSON body of the response."""
        with self.sending(data) as connection:
            return read_response(connection)

    def request(
        self, method: str, path: str, *, key: str | None = None, body: Any = None
    ) -> tuple[int, dict[str, str], Any]:
        connection = HTTPConnection(HOST, self.port, timeout=DEFAULT_TIMEOUT_S)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return _read(connection.getresponse())
        finally:
            connection.close()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(timeout=DEFAULT_TIMEOUT_S)


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    response = HTTPResponse(connection)
    response.begin()
    return _read(response)


def _read(response: HTTPResponse) -> tuple[int, dict[str, str], Any]:
    body = response.read()
    return response.status, dict(response.getheaders()), json.loads(body) if body else None


@contextmanager
def gunicorn(endpoint_url: str, environment: dict[str, str]) -> Iterator[Gunicorn]:
    """A running server that reaches no AWS but `endpoint_url`. `environment` adds settings."""
    command = (
        *(sys.executable, "-m", "gunicorn", "--config", "services/api/server/gunicorn.conf.py"),
        *("--bind", f"{HOST}:0"),
    )
    with subprocess.Popen(
        command,
        env={**isolated(os.environ, endpoint_url=endpoint_url), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        server = Gunicorn(process)
        collector = threading.Thread(target=server.collect)
        try:
            collector.start()
            assert server.listening.wait(DEFAULT_TIMEOUT_S), "".join(server.lines)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=DEFAULT_TIMEOUT_S)
            collector.join()
