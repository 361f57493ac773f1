"""Checks a deployment from outside, in the order in which a task passes through it.

Each check depends on the ones before it, so the first failure shows where the problem is.
"""

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError, SSLError

from taskfleet.api_client import ApiClient, Response, is_final

POLL_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`check` is the name of the check or of the component that failed."""

    check: str
    message: str
    ok: bool = True


class _CheckFailed(Exception):
    """`component` is set when the response shows that another component caused the failure."""

    def __init__(self, message: str, *, component: str | None = None) -> None:
        super().__init__(message)
        self.component = component


class DeploymentCheck:
    """Submits one task and follows it to its result.

    `timeout_s` limits the wait for a worker, and then the wait for the result.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        image_url: str,
        timeout_s: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._image_url = image_url
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._task: dict[str, Any] = {}

    def run(self) -> Iterator[CheckResult]:
        """Run the checks in order and stop after the first that fails."""
        for name, check in (
            ("DNS", self._dns),
            ("load balancer", self._load_balancer),
            ("API", self._api),
            ("dependencies", self._dependencies),
            ("API key", self._api_key),
            ("submission", self._submission),
            ("worker", self._worker),
            ("processing", self._processing),
            ("result", self._result),
        ):
            try:
                yield CheckResult(name, check())
            except _CheckFailed as failure:
                yield CheckResult(failure.component or name, str(failure), ok=False)
                return

    def _dns(self) -> str:
        parts = urlsplit(self._client.url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise _CheckFailed(f"{self._client.url} is not an http or https URL.")
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _CheckFailed(f"Cannot resolve {parts.hostname}: {error.strerror}.") from error
        addresses = sorted({str(address[0]) for *_, address in found})
        return f"{parts.hostname} resolves to {', '.join(addresses)}."

    def _load_balancer(self) -> str:
        response = self._get("/healthz")
        if not response.from_api:
            raise _CheckFailed(
                f"The response with status {response.status} does not come from the API: no API "
                "container is healthy, or another server listens at this address."
            )
        return "It forwards requests to the API."

    def _api(self) -> str:
        response = self._get("/healthz")
        if response.status != HTTPStatus.OK:
            raise _CheckFailed(f"GET /healthz: {response.problem}")
        return "It is running."

    def _dependencies(self) -> str:
        response = self._get("/readyz")
        if response.status != HTTPStatus.OK:
            names = ", ".join(response.body.get("failing", ())) or None
            raise _CheckFailed(
                f"The API is not ready: {response.problem} Check the API's permissions, "
                "environment variables and network routes.",
                component=names,
            )
        return "The table, the queue and the secret respond."

    def _api_key(self) -> str:
        response = self._get("/operations")
        match response.status:
            case HTTPStatus.OK:
                return "The API accepts it."
            case HTTPStatus.UNAUTHORIZED:
                raise _CheckFailed(
                    "The API rejects it: the key is revoked, belongs to another deployment, or is "
                    "less than a minute old."
                )
        raise _CheckFailed(f"GET /operations: {response.problem}")

    def _submission(self) -> str:
        response = self._post("/tasks", {"inputImageUrl": self._image_url})
        match response.status:
            case HTTPStatus.CREATED:
                self._task = dict(response.body)
                return f"Task {self._task['taskId']} is recorded and queued."
            case HTTPStatus.ACCEPTED:
                raise _CheckFailed(
                    f"Task {response.body['taskId']} is recorded, but its message could not be "
                    "sent. The reconciler sends it later. Check why the queue rejects messages.",
                    component="queue",
                )
        raise _CheckFailed(f"POST /tasks: {response.problem}")

    def _worker(self) -> str:
        if not self._poll_until(lambda: bool(self._task.get("attempt"))):
            raise _CheckFailed(
                f"No worker claimed task {self._task['taskId']} within {self._timeout_s:g} s: no "
                "worker is running, or the workers cannot receive messages."
            )
        return "A worker claimed the task."

    def _processing(self) -> str:
        final = self._poll_until(lambda: is_final(self._task))
        status, code = self._task["status"], self._task.get("failureCode")
        reason = f"{code}: {self._task.get('failureReason')}" if code else "no reason given"
        if not final:
            raise _CheckFailed(
                f"After {self._timeout_s:g} s the task is {status}, attempt "
                f"{self._task['attempt']} ({reason})."
            )
        if status != "COMPLETED":
            at_source = str(code).startswith("source_")
            raise _CheckFailed(
                f"The task is {status} ({reason}).", component="image" if at_source else None
            )
        return f"The task is COMPLETED after attempt {self._task['attempt']}."

    def _result(self) -> str:
        try:
            response = self._client.download(self._task["resultUrl"])
        except HTTPError as error:
            raise _CheckFailed(f"Cannot reach the result URL: {_reason(error)}.") from error
        if response.status != HTTPStatus.OK:
            raise _CheckFailed(
                "The bucket rejects the result URL. Check that the API may read results."
            )
        image = response.data
        expected = self._task["result"]
        if hashlib.sha256(image).hexdigest() != expected["sha256"]:
            raise _CheckFailed("The downloaded result differs from what the worker stored.")
        return (
            f"{expected['contentType']}, {expected['width']} by {expected['height']} pixels, "
            f"{len(image):,} bytes."
        )

    def _poll_until(self, done: Callable[[], bool]) -> bool:
        """Fetch the task again and again until `done`. False after the timeout."""
        deadline = self._monotonic() + self._timeout_s
        while not done():
            if self._monotonic() >= deadline:
                return False
            self._sleep(POLL_INTERVAL_S)
            response = self._get(f"/tasks/{self._task['taskId']}")
            if response.status != HTTPStatus.OK:
                raise _CheckFailed(f"GET /tasks/{{taskId}}: {response.problem}", component="API")
            self._task = dict(response.body)
        return True

    def _get(self, path: str) -> Response:
        return self._request(lambda: self._client.request("GET", path))

    def _post(self, path: str, body: dict[str, Any]) -> Response:
        return self._request(lambda: self._client.request("POST", path, body=body))

    def _request(self, send: Callable[[], Response]) -> Response:
        try:
            return send()
        except SSLError as error:
            raise _CheckFailed(
                f"The certificate is not trusted: {_reason(error)}.", component="certificate"
            ) from error
        except HTTPError as error:
            raise _CheckFailed(
                f"No response: {_reason(error)}.", component="load balancer"
            ) from error


def _reason(error: HTTPError) -> str:
    return str(error).rpartition(": ")[2].rstrip(".")
