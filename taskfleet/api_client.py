"""HTTP requests to the Taskfleet API, one method for each route."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import urllib3

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
"""The API answers within seconds; the load balancer gives up after 60 s."""

TaskBody = Mapping[str, Any]
"""A task as the API returns it."""


def is_final(task: TaskBody) -> bool:
    """Whether the task has ended and no further attempt follows."""
    if "final" in task:
        return bool(task["final"])
    # The API is older than this member.
    if task["status"] == "FAILED":
        return not task["willRetry"]
    return task["status"] in {"COMPLETED", "CANCELED"}


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is the JSON object of the response; empty if there is none."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def from_api(self) -> bool:
        """False if a load balancer or proxy answered: every API response has a request ID."""
        return any(name.lower() == "x-request-id" for name in self.headers)

    @property
    def problem(self) -> str:
        """What went wrong, from the problem document if there is one."""
        return str(self.body.get("detail") or self.body.get("code") or f"status {self.status}")


class ApiClient:
    """Thread-safe. Follows no redirects and retries nothing.

    `ca_file` names a file of certificate authorities to trust instead of the default ones.
    `connections` is the number of connections to keep open. Every method raises
    ``urllib3.exceptions.HTTPError`` when there is no response.
    """

    def __init__(
        self, url: str, *, key: str | None = None, ca_file: str | None = None, connections: int = 10
    ) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            ca_certs=ca_file,
        )

    def close(self) -> None:
        """Close the open connections."""
        self._pool.clear()

    def submit(
        self,
        submission: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> Response:
        """``POST /tasks``."""
        headers = {"Idempotency-Key": idempotency_key, "X-Request-Id": request_id}
        given = {name: value for name, value in headers.items() if value is not None}
        return self.request("POST", "/tasks", body=submission, headers=given)

    def get_task(self, task_id: str) -> Response:
        """``GET /tasks/{taskId}``."""
        return self.request("GET", f"/tasks/{task_id}")

    def cancel(self, task_id: str) -> Response:
        """``POST /tasks/{taskId}/cancel``."""
        return self.request("POST", f"/tasks/{task_id}/cancel")

    def retry(self, task_id: str) -> Response:
        """``POST /tasks/{taskId}/retry``."""
        return self.request("POST", f"/tasks/{task_id}/retry")

    def operations(self) -> Response:
        """``GET /operations``."""
        return self.request("GET", "/operations")

    def is_ready(self) -> bool:
        """Whether ``GET /readyz`` succeeds."""
        try:
            return self.request("GET", "/readyz").status == HTTPStatus.OK
        except urllib3.exceptions.HTTPError:
            return False

    def result_url(self, task_id: str) -> str | None:
        """The presigned URL that ``GET /tasks/{taskId}/result`` redirects to, if it does."""
        return self.request("GET", f"/tasks/{task_id}/result").headers.get("Location")

    def download(self, url: str) -> urllib3.BaseHTTPResponse:
        """Fetch a presigned URL. The API key is not sent."""
        return self._pool.request("GET", url, redirect=False)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send any request. `body` is a JSON object, or bytes to send as they are."""
        sent = {"Accept": "application/json", **(headers or {})}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        response = self._pool.request(
            method,
            self.url + path,
            body=json.dumps(body).encode() if isinstance(body, Mapping) else body,
            headers=sent,
            redirect=False,
        )
        return Response(response.status, response.headers, _json_object(response.data))


def _json_object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
