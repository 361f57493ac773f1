"""The HTTP API as a client calls it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
"""The API answers at once; the load balancer itself gives up after 60 s."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what the JSON says, empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def from_api(self) -> bool:
        """Or something before the API answered in its place: every answer of its own has an id."""
        return any(name.lower() == "x-request-id" for name in self.headers)

    @property
    def problem(self) -> str:
        """What went wrong, in the API's words where it said any."""
        return str(self.body.get("detail") or self.body.get("code") or f"status {self.status}")


class ApiClient:
    """Follows no redirect and repeats nothing. Methods raise ``urllib3.exceptions.HTTPError``.

    `ca_file` names authorities to trust instead of the usual ones. Thread-safe.
    """

    def __init__(self, url: str, *, key: str | None = None, ca_file: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._pool = urllib3.PoolManager(
            maxsize=10,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            ca_certs=ca_file,
        )

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self.request("POST", path, body=body)

    def request(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> Answer:
        headers = {"Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        response = self._pool.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers=headers,
            redirect=False,
        )
        return Answer(response.status, dict(response.headers), _json_object(response.data))

    def download(self, url: str) -> bytes | None:
        """What a presigned URL serves; None when it does not. The key stays here."""
        response = self._pool.request("GET", url, redirect=False)
        return response.data if response.status == 200 else None  # noqa: PLR2004 - HTTP's own


def _json_object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
