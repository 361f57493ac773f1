"""A client of the API, as its users write one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import urllib3

TIMEOUT_S = 30.0

Task = Mapping[str, Any]
"""As the API shows it."""


def is_over(task: Task) -> bool:
    return task["status"] in {"COMPLETED", "CANCELED"} or (
        task["status"] == "FAILED" and not task["willRetry"]
    )


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    """The JSON document."""
    headers: Mapping[str, str]


class Client:
    """Thread-safe, and tries nothing twice. Every method raises ``urllib3``'s ``HTTPError``."""

    def __init__(self, url: str, *, key: str, connections: int = 10) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._http = urllib3.PoolManager(maxsize=connections, retries=False, timeout=TIMEOUT_S)

    def submit(
        self,
        submission: Mapping[str, Any],
        *,
        request_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        headers = {"X-Request-Id": request_id, "Idempotency-Key": idempotency_key}
        return self.post_task(json.dumps(submission).encode(), headers)

    def post_task(self, body: bytes, headers: Mapping[str, str | None] | None = None) -> Answer:
        """Submit whatever `body` is."""
        return self._ask("POST", "/tasks", body, headers)

    def get(self, task_id: str) -> Answer:
        return self._ask("GET", f"/tasks/{task_id}")

    def cancel(self, task_id: str) -> Answer:
        return self._ask("POST", f"/tasks/{task_id}/cancel")

    def is_ready(self) -> bool:
        try:
            return self._http.request("GET", f"{self._url}/readyz").status == HTTPStatus.OK
        except urllib3.exceptions.HTTPError:
            return False

    def download_result(self, task_id: str) -> urllib3.BaseHTTPResponse:
        """What the result's own route leads to."""
        answer = self._http.request(
            "GET", f"{self._url}/tasks/{task_id}/result", headers=self._headers, redirect=False
        )
        return self.download(answer.headers["Location"])

    def download(self, url: str) -> urllib3.BaseHTTPResponse:
        """What a presigned URL serves; it carries its own right, so no key is sent."""
        return self._http.request("GET", url)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        given = {name: value for name, value in (headers or {}).items() if value is not None}
        answer = self._http.request(
            method,
            f"{self._url}{path}",
            body=body,
            headers={**self._headers, **given},
        )
        return Answer(answer.status, answer.json(), answer.headers)
