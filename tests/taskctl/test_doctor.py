"""``taskctl doctor``: the hop that fails is the one that is named."""

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
from taskctl.examination import Examination, Finding
from taskfleet.api_client import ApiClient
from tests.rehearsal.loopback import HOST as LOOPBACK

IMAGE = b"an image"
TASK: Mapping[str, Any] = {
    "taskId": "1",
    "status": "COMPLETED",
    "willRetry": False,
    "attempt": 1,
    "attemptLimit": 5,
    "result": {
        "contentType": "image/jpeg",
        "width": 4,
        "height": 3,
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    },
}
KEY = "id.secret"


class FakeApi:
    """A deployment whose every answer a test may replace: status, body, from the API or not."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Mapping[str, Any]]] = {
            "/healthz": (200, {"status": "ok"}),
            "/readyz": (200, {"status": "ok"}),
            "/operations": (200, {"operations": []}),
            "/tasks": (201, {**TASK, "status": "PENDING", "attempt": 0}),
            "/tasks/1": (200, TASK),
        }
        self.request_id: Mapping[str, str] = {"X-Request-Id": "1"}
        self.image: bytes | None = IMAGE
        self.submitted: Any = None
        self.url = ""

    def answer(self, path: str) -> Response:
        if path == "/results/1.jpg":
            return Response(self.image, 403 if self.image is None else 200)
        if path == "/tasks":
            self.submitted = request.get_json()
        if path not in {"/healthz", "/readyz"}:
            assert request.headers["Authorization"] == f"Bearer {KEY}"
        status, body = self.answers[path]
        shown = {**body, "resultUrl": f"{self.url}/results/1.jpg"} if "taskId" in body else body
        return Response(json.dumps(shown), status, self.request_id, content_type="application/json")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake, app = FakeApi(), Flask(__name__, static_folder=None)
    app.add_url_rule(
        "/<path:path>", "any", lambda path: fake.answer(f"/{path}"), methods=["GET", "POST"]
    )
    server = make_server(LOOPBACK, 0, app, threaded=True)
    fake.url = f"http://{LOOPBACK}:{server.port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def findings(url: str) -> list[Finding]:
    clock = Clock()
    examination = Examination(
        ApiClient(url, key=KEY),
        image_url="https://example.com/a.jpg",
        patience_s=30,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    return list(examination.run())


def broken(api: FakeApi) -> Finding:
    """The last finding, which is the first that is not well."""
    *before, last = findings(api.url)
    assert all(finding.ok for finding in before)
    assert not last.ok
    return last


def test_a_well_deployment_is_well_at_every_hop(api: FakeApi) -> None:
    found = findings(api.url)

    assert all(finding.ok for finding in found)
    assert [finding.hop for finding in found] == [
        "name",
        "load balancer",
        "API",
        "what the API depends on",
        "key",
        "submission",
        "worker",
        "processing",
        "result",
    ]
    assert api.submitted == {"inputImageUrl": "https://example.com/a.jpg"}


def test_a_name_that_leads_nowhere_is_named() -> None:
    (found,) = findings("http://nowhere.invalid")

    assert (found.hop, found.ok) == ("name", False)
    assert "nowhere.invalid" in found.sentence


def test_nobody_listening_is_the_load_balancer() -> None:
    *_, found = findings(f"http://{LOOPBACK}:1")

    assert (found.hop, found.ok) == ("load balancer", False)


def test_an_answer_that_is_not_the_apis_is_the_load_balancers(api: FakeApi) -> None:
    api.request_id = {}
    api.answers["/healthz"] = (503, {})

    found = broken(api)

    assert found.hop == "load balancer"
    assert "no API container is healthy" in found.sentence


@pytest.mark.parametrize(
    ("path", "answer", "hop", "words"),
    [
        ("/healthz", (500, {"detail": "Broken."}), "API", "Broken."),
        ("/readyz", (503, {"detail": "No.", "failing": ["queue"]}), "queue", "permissions"),
        ("/operations", (401, {}), "key", "does not know it"),
        ("/tasks", (403, {"detail": "The key may not."}), "submission", "The key may not."),
        ("/tasks", (202, TASK), "queue", "did not take its message"),
        (
            "/tasks/1",
            (200, {**TASK, "status": "PENDING", "attempt": 0}),
            "worker",
            "After 30 s no worker has claimed",
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
def test_the_hop_that_fails_is_named(
    api: FakeApi, path: str, answer: tuple[int, Mapping[str, Any]], hop: str, words: str
) -> None:
    api.answers[path] = answer

    found = broken(api)

    assert found.hop == hop
    assert words in found.sentence


@pytest.mark.parametrize(
    ("image", "words"), [(None, "does not serve"), (b"another", "something else")]
)
def test_a_result_that_is_not_served_as_promised_is_named(
    api: FakeApi, image: bytes | None, words: str
) -> None:
    api.image = image

    found = broken(api)

    assert found.hop == "result"
    assert words in found.sentence


@pytest.fixture
def doctor(api: FakeApi) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["doctor", "--url", api.url, "--key", KEY, *arguments])

    return run


def test_the_command_succeeds_when_all_is_well(doctor: Callable[..., Result]) -> None:
    result = doctor()

    assert result.exit_code == 0
    assert "✓ result" in result.stdout
    assert "✗" not in result.stdout
    assert KEY not in result.stdout


def test_the_command_fails_at_the_hop_that_does(
    api: FakeApi, doctor: Callable[..., Result]
) -> None:
    api.answers["/operations"] = (401, {})

    result = doctor()

    assert result.exit_code == 1
    assert "✗ key: The API does not know it" in result.stdout
    assert "submission" not in result.stdout
