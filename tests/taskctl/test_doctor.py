"""``taskctl doctor`` names the part of a deployment that fails."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask, Response, request
from werkzeug.serving import make_server

from taskctl.cli import cli
from taskctl.deployment_check import CheckResult, DeploymentCheck
from taskfleet.api_client import ApiClient
from tests.rehearsal.loopback import HOST as LOOPBACK

IMAGE = b"an image"
TASK: Mapping[str, Any] = {
    "taskId": "1",
    "status": "COMPLETED",
    "willRetry": False,
    "attempt": 1,
    "result": {
        "contentType": "image/jpeg",
        "width": 4,
        "height": 3,
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    },
}
KEY = "id.secret"


class FakeApi:
    """A deployment. A test may replace any response, and remove the header of the API."""

    def __init__(self) -> None:
        self.responses: dict[str, tuple[int, Mapping[str, Any]]] = {
            "/healthz": (200, {"status": "ok"}),
            "/readyz": (200, {"status": "ok"}),
            "/operations": (200, {"operations": []}),
            "/tasks": (201, {**TASK, "status": "PENDING", "attempt": 0}),
            "/tasks/1": (200, TASK),
        }
        self.headers: Mapping[str, str] = {"X-Request-Id": "1"}
        self.image: bytes | None = IMAGE
        self.submitted: Any = None
        self.url = ""

    def respond(self, path: str) -> Response:
        if path == "/results/1.jpg":
            return Response(self.image, 403 if self.image is None else 200)
        if path == "/tasks":
            self.submitted = request.get_json()
        if path not in {"/healthz", "/readyz"}:
            assert request.headers["Authorization"] == f"Bearer {KEY}"
        status, body = self.responses[path]
        if "taskId" in body:
            body = {**body, "resultUrl": f"{self.url}/results/1.jpg"}
        return Response(json.dumps(body), status, self.headers, content_type="application/json")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake, app = FakeApi(), Flask(__name__, static_folder=None)
    app.add_url_rule(
        "/<path:path>", "any", lambda path: fake.respond(f"/{path}"), methods=["GET", "POST"]
    )
    server = make_server(LOOPBACK, 0, app, threaded=True)
    fake.url = f"http://{LOOPBACK}:{server.port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


class SleepClock:
    """A clock that advances only by ``sleep``."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def check(url: str) -> list[CheckResult]:
    clock = SleepClock()
    deployment_check = DeploymentCheck(
        ApiClient(url, key=KEY),
        image_url="https://example.com/a.jpg",
        timeout_s=30,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    return list(deployment_check.run())


def failure(api: FakeApi) -> CheckResult:
    """The last result; all results before it are OK."""
    *before, last = check(api.url)
    assert all(result.ok for result in before)
    assert not last.ok
    return last


def test_all_checks_of_a_healthy_deployment_succeed(api: FakeApi) -> None:
    results = check(api.url)

    assert all(result.ok for result in results)
    assert [result.check for result in results] == [
        "DNS",
        "load balancer",
        "API",
        "dependencies",
        "API key",
        "submission",
        "worker",
        "processing",
        "result",
    ]
    assert api.submitted == {"inputImageUrl": "https://example.com/a.jpg"}


def test_a_host_name_that_does_not_resolve_fails_the_dns_check() -> None:
    (result,) = check("http://nowhere.invalid")

    assert (result.check, result.ok) == ("DNS", False)
    assert "nowhere.invalid" in result.message


def test_a_refused_connection_fails_the_load_balancer_check() -> None:
    *_, result = check(f"http://{LOOPBACK}:1")

    assert (result.check, result.ok) == ("load balancer", False)


def test_a_response_without_a_request_id_fails_the_load_balancer_check(api: FakeApi) -> None:
    api.headers = {}
    api.responses["/healthz"] = (503, {})

    result = failure(api)

    assert result.check == "load balancer"
    assert "no API container is healthy" in result.message


@pytest.mark.parametrize(
    ("path", "response", "part", "words"),
    [
        ("/healthz", (500, {"detail": "Broken."}), "API", "Broken."),
        ("/readyz", (503, {"detail": "No.", "failing": ["queue"]}), "queue", "permissions"),
        ("/operations", (401, {}), "API key", "rejects it"),
        ("/tasks", (403, {"detail": "The key may not."}), "submission", "The key may not."),
        ("/tasks", (202, TASK), "queue", "could not be sent"),
        (
            "/tasks/1",
            (200, {**TASK, "status": "PENDING", "attempt": 0}),
            "worker",
            "No worker claimed task 1 within 30 s",
        ),
        (
            "/tasks/1",
            (
                200,
                {
                    **TASK,
                    "status": "FAILED",
                    "willRetry": True,
                    "failureCode": "storage_failed",
                    "failureReason": "No.",
                },
            ),
            "processing",
            "storage_failed: No.",
        ),
        (
            "/tasks/1",
            (
                200,
                {
                    **TASK,
                    "status": "FAILED",
                    "failureCode": "source_not_found",
                    "failureReason": "Not there.",
                },
            ),
            "image",
            "source_not_found: Not there.",
        ),
    ],
)
def test_the_part_that_fails_is_named(
    api: FakeApi, path: str, response: tuple[int, Mapping[str, Any]], part: str, words: str
) -> None:
    api.responses[path] = response

    result = failure(api)

    assert result.check == part
    assert words in result.message


@pytest.mark.parametrize(
    ("image", "words"), [(None, "rejects the result URL"), (b"another", "differs")]
)
def test_a_result_that_is_missing_or_different_fails_the_result_check(
    api: FakeApi, image: bytes | None, words: str
) -> None:
    api.image = image

    result = failure(api)

    assert result.check == "result"
    assert words in result.message


@pytest.fixture
def doctor(api: FakeApi) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["doctor", "--url", api.url, "--key", KEY, *arguments])

    return run


def test_the_command_succeeds_and_does_not_print_the_key(doctor: Callable[..., Result]) -> None:
    result = doctor()

    assert result.exit_code == 0
    assert "✓ result" in result.stdout
    assert "✗" not in result.stdout
    assert KEY not in result.stdout


def test_the_command_stops_at_the_first_failure(
    api: FakeApi, doctor: Callable[..., Result]
) -> None:
    api.responses["/operations"] = (401, {})

    result = doctor()

    assert result.exit_code == 1
    assert "✗ API key: The API rejects it" in result.stdout
    assert "submission" not in result.stdout
