"""A deployment, examined from outside: hop by hop, the way that a task goes.

Each hop is only as good as those before it, so the first that fails is the one to look at.
"""

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError, SSLError

from taskfleet.api_client import ApiClient, Response

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one hop."""

    hop: str
    sentence: str
    ok: bool = True


class _Broken(Exception):
    """`hop` is another than the one that was tried, where the answer tells so."""

    def __init__(self, sentence: str, *, hop: str | None = None) -> None:
        super().__init__(sentence)
        self.hop = hop


class Examination:
    """`patience_s` is how long a task may take: with no worker running, one has to start first."""

    def __init__(
        self,
        client: ApiClient,
        *,
        image_url: str,
        patience_s: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._image_url = image_url
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._task: dict[str, Any] = {}

    def run(self) -> Iterator[Finding]:
        """Go from hop to hop; ends with the first that fails."""
        for hop, examine in (
            ("name", self._name),
            ("load balancer", self._load_balancer),
            ("API", self._api),
            ("what the API depends on", self._dependencies),
            ("key", self._key),
            ("submission", self._submission),
            ("worker", self._worker),
            ("processing", self._processing),
            ("result", self._result),
        ):
            try:
                yield Finding(hop, examine())
            except _Broken as broken:
                yield Finding(broken.hop or hop, str(broken), ok=False)
                return

    def _name(self) -> str:
        parts = urlsplit(self._client.url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise _Broken(f"{self._client.url} is no http or https URL.")
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _Broken(f"{parts.hostname} cannot be resolved: {error.strerror}.") from error
        addresses = sorted({str(address[0]) for *_, address in found})
        return f"{parts.hostname} leads to {', '.join(addresses)}."

    def _load_balancer(self) -> str:
        answer = self._get("/healthz")
        if not answer.from_api:
            raise _Broken(
                f"It answers {answer.status} by itself: no API container is healthy, or something "
                "else listens at this address."
            )
        return "It connects and hands requests on."

    def _api(self) -> str:
        answer = self._get("/healthz")
        if answer.status != HTTPStatus.OK:
            raise _Broken(f"GET /healthz: {answer.problem}")
        return "It is alive."

    def _dependencies(self) -> str:
        answer = self._get("/readyz")
        if answer.status != HTTPStatus.OK:
            names = ", ".join(answer.body.get("failing", ())) or None
            raise _Broken(
                f"The API gets no answer: {answer.problem} Look at its permissions, its "
                "environment and its way out.",
                hop=names,
            )
        return "Table, queue and secret answer."

    def _key(self) -> str:
        answer = self._get("/operations")
        match answer.status:
            case HTTPStatus.OK:
                return "The API knows it."
            case HTTPStatus.UNAUTHORIZED:
                raise _Broken(
                    "The API does not know it: revoked, of another deployment, or created less "
                    "than a minute ago."
                )
        raise _Broken(f"GET /operations: {answer.problem}")

    def _submission(self) -> str:
        answer = self._post("/tasks", {"inputImageUrl": self._image_url})
        match answer.status:
            case HTTPStatus.CREATED:
                self._task = dict(answer.body)
                return f"Task {self._task['taskId']} is recorded and queued."
            case HTTPStatus.ACCEPTED:
                raise _Broken(
                    f"Task {answer.body['taskId']} is recorded, but the queue did not take its "
                    "message. The reconciler will send it; look at why the queue refuses.",
                    hop="queue",
                )
        raise _Broken(f"POST /tasks: {answer.problem}")

    def _worker(self) -> str:
        if not self._wait(lambda: bool(self._task.get("attempt"))):
            raise _Broken(
                f"After {self._patience_s:g} s no worker has claimed task "
                f"{self._task['taskId']}: none runs, or none may receive."
            )
        return "One has claimed the task."

    def _processing(self) -> str:
        over = ("COMPLETED", "FAILED", "CANCELED")
        done = self._wait(
            lambda: self._task["status"] in over and not self._task.get("willRetry", False)
        )
        status, code = self._task["status"], self._task.get("failureCode")
        reason = f"{code}: {self._task.get('failureReason')}" if code else "no reason given"
        if not done:
            raise _Broken(
                f"After {self._patience_s:g} s the task is {status}, attempt "
                f"{self._task['attempt']} of {self._task['attemptLimit']} ({reason})."
            )
        if status != "COMPLETED":
            at_source = str(code).startswith("source_")
            raise _Broken(f"The task is {status} ({reason}).", hop="image" if at_source else None)
        return f"COMPLETED at attempt {self._task['attempt']}."

    def _result(self) -> str:
        try:
            response = self._client.download(self._task["resultUrl"])
        except HTTPError as error:
            raise _Broken(f"The result's URL cannot be reached: {_reason(error)}.") from error
        if response.status != HTTPStatus.OK:
            raise _Broken("The bucket does not serve the result's URL: may the API read results?")
        image = response.data
        promised = self._task["result"]
        if hashlib.sha256(image).hexdigest() != promised["sha256"]:
            raise _Broken("The bucket serves something else than the worker says it stored.")
        return (
            f"{promised['contentType']}, {promised['width']} by {promised['height']} pixels, "
            f"{len(image):,} bytes."
        )

    def _wait(self, done: Callable[[], bool]) -> bool:
        """Look at the task until `done`; False when it is not after the patience."""
        deadline = self._monotonic() + self._patience_s
        while not done():
            if self._monotonic() >= deadline:
                return False
            self._sleep(POLL_S)
            answer = self._get(f"/tasks/{self._task['taskId']}")
            if answer.status != HTTPStatus.OK:
                raise _Broken(f"GET /tasks/…: {answer.problem}", hop="API")
            self._task = dict(answer.body)
        return True

    def _get(self, path: str) -> Response:
        return self._ask(lambda: self._client.request("GET", path))

    def _post(self, path: str, body: dict[str, Any]) -> Response:
        return self._ask(lambda: self._client.request("POST", path, body=body))

    def _ask(self, ask: Callable[[], Response]) -> Response:
        try:
            return ask()
        except SSLError as error:
            raise _Broken(
                f"The certificate is not trusted: {_reason(error)}.", hop="certificate"
            ) from error
        except HTTPError as error:
            raise _Broken(f"No answer: {_reason(error)}.", hop="load balancer") from error


def _reason(error: HTTPError) -> str:
    return str(error).rpartition(": ")[2].rstrip(".")
