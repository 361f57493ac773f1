"""The Python client against servers that fail in every way: it never hangs nor submits twice."""

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from taskfleet import (
    AccessDenied,
    ApiError,
    Client,
    ResultCorrupt,
    Submission,
    Task,
    TaskFailed,
    TaskNotFinal,
    Unavailable,
)
from tests.taskfleet.scripted_api import TASK, answer, problem, scripted, task
from tests.worker.fetching.loopback_source import (
    LoopbackSource,
    Responder,
    ok,
    response_head,
    serving,
)

PHOTO = Submission(input_image_url="https://example.com/photo.jpg")
SHORT_S = 0.5


def idempotency_keys(api: LoopbackSource) -> list[bytes]:
    return [
        key for request in api.requests for key in re.findall(rb"Idempotency-Key: (\S+)", request)
    ]


class Endless:
    """Sends `start`, then a byte now and then, until ``stop``. Timeouts of reads never pass."""

    def __init__(self, start: bytes, byte: bytes) -> None:
        self._start = start
        self._byte = byte
        self._stopped = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(self._start)
        while not self._stopped.wait(0.05):
            connection.sendall(self._byte)

    def stop(self) -> None:
        self._stopped.set()


def close(_connection: socket.socket) -> None:
    """Close the connection without an answer."""


# ── Submitting ────────────────────────────────────────────────────────────────────────────────


def test_a_submission_returns_its_task() -> None:
    with scripted(task(201)) as (api, client):
        submitted = client.submit(PHOTO, idempotency_key="photo-17")
    assert (submitted.task_id, submitted.status) == (TASK["taskId"], "PENDING")
    assert not submitted.final
    assert idempotency_keys(api) == [b"photo-17"]


@pytest.mark.parametrize(
    "failure",
    [close, problem(503, "table_unavailable"), problem(429, "rate_limited"), response_head(502)],
    ids=["a lost response", "503", "429", "502 of a load balancer"],
)
def test_a_submission_is_repeated_with_the_same_key(failure: Responder | bytes) -> None:
    with scripted(failure, task(201)) as (api, client):
        client.submit(PHOTO)
    first, second = idempotency_keys(api)
    assert first == second


def test_two_submissions_without_a_key_are_two_tasks() -> None:
    with scripted(task(201)) as (api, client):
        client.submit(PHOTO)
        client.submit(PHOTO)
    first, second = idempotency_keys(api)
    assert first != second


def test_retry_after_is_obeyed() -> None:
    limited = problem(429, "rate_limited", "Retry-After: 1")
    with scripted(limited, task(201)) as (_api, client):
        start = time.monotonic()
        client.submit(PHOTO)
    assert time.monotonic() - start >= 1


def test_a_retry_after_beyond_the_time_limit_is_not_waited_for() -> None:
    limited = problem(429, "rate_limited", "Retry-After: 60")
    with (
        scripted(limited) as (api, client),
        pytest.raises(Unavailable, match="Detail of rate_limited"),
    ):
        client.submit(PHOTO, timeout_s=20)
    assert api.connections == 1


def test_a_rejected_submission_is_not_repeated() -> None:
    errors = [{"field": "operations.0.width", "message": "Must be at least 1"}]
    with (
        scripted(problem(400, "invalid_request", errors=errors)) as (api, client),
        pytest.raises(ApiError, match=r"operations\.0\.width: Must be at least 1") as rejected,
    ):
        client.submit(PHOTO)
    assert (rejected.value.status, rejected.value.code) == (400, "invalid_request")
    assert api.connections == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_without_access_is_named(status: int) -> None:
    with scripted(problem(status, "denied")) as (_api, client), pytest.raises(AccessDenied):
        client.submit(PHOTO)


# ── Time limits ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "byte"),
    [
        (b"", b""),
        (b"", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (response_head(200, "Content-Length: 100000"), b"x"),
    ],
    ids=["silence", "status line", "headers", "body"],
)
def test_a_response_that_never_ends_holds_no_call(start: bytes, byte: bytes) -> None:
    endless = Endless(start, byte)
    with scripted(endless) as (_api, client):
        try:
            with pytest.raises(Unavailable):
                client.submit(PHOTO, timeout_s=SHORT_S)
        finally:
            endless.stop()


@pytest.mark.parametrize(
    "failure", [close, problem(503, "table_unavailable")], ids=["lost responses", "503"]
)
def test_failures_are_repeated_until_the_time_limit(failure: Responder | bytes) -> None:
    with scripted(failure) as (api, client), pytest.raises(Unavailable):
        client.submit(PHOTO, timeout_s=2)
    assert api.connections > 1


def test_an_answer_that_is_no_task_is_named() -> None:
    with (
        scripted(ok(b"<html>Welcome</html>", "Connection: close")) as (_api, client),
        pytest.raises(Unavailable, match="Is the URL that of the API"),
    ):
        client.get("x")


def test_a_url_without_a_scheme_is_rejected() -> None:
    with pytest.raises(ValueError, match="https://"):
        Client("api.example.com", key="test.secret")


# ── Waiting ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pending() -> Task:
    return Task.of({**TASK}, poll_after_s=0.01)


def test_a_wait_ends_with_the_final_task(pending: Task) -> None:
    running = task(status="RUNNING")
    with scripted(running, task(status="COMPLETED")) as (_api, client):
        final = client.wait(pending, timeout_s=20)
    assert final.completed
    assert final.final


def test_a_failure_that_is_retried_is_not_the_end(pending: Task) -> None:
    retried = task(status="FAILED", final=False, nextAttemptAt="2026-11-25T12:01:00.000Z")
    failed = task(status="FAILED", failureCode="source_timeout", failureReason="Too slow.")
    with scripted(retried, failed) as (api, client):
        final = client.wait(pending, timeout_s=20)
    assert (final.final, final.failure_code, final.failure_reason) == (
        True,
        "source_timeout",
        "Too slow.",
    )
    assert api.connections == 2


@pytest.mark.parametrize(
    ("members", "final"),
    [
        ({"status": "COMPLETED"}, True),
        ({"status": "FAILED", "willRetry": True}, False),
        ({"status": "FAILED", "willRetry": False}, True),
    ],
)
def test_the_end_is_recognized_in_answers_of_an_older_api(
    *, members: dict[str, object], final: bool
) -> None:
    assert Task.of({**TASK, **members}).final is final


def test_a_task_says_when_its_next_attempt_may_start() -> None:
    waiting = Task.of({**TASK, "nextAttemptAt": "2026-11-25T12:01:00.000Z"})
    assert waiting.next_attempt_at == datetime(2026, 11, 25, 12, 1, tzinfo=UTC)


def test_a_wait_survives_an_outage_of_the_api(pending: Task) -> None:
    outage = problem(503, "table_unavailable")
    with scripted(outage, close, task(status="COMPLETED")) as (_api, client):
        assert client.wait(pending, timeout_s=20).completed


def test_a_wait_ends_at_its_time_limit_with_the_task(pending: Task) -> None:
    with (
        scripted(task(status="RUNNING")) as (_api, client),
        pytest.raises(TaskNotFinal) as not_final,
    ):
        client.wait(pending, timeout_s=1.5)
    assert not_final.value.task.status == "RUNNING"


def test_processing_raises_the_reason_of_a_failure() -> None:
    failed = task(201, status="FAILED", failureCode="not_an_image", failureReason="No image.")
    with scripted(failed) as (_api, client), pytest.raises(TaskFailed, match="No image") as failure:
        client.process(PHOTO)
    assert failure.value.code == "not_an_image"


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_action_with_an_unknown_outcome_is_not_repeated(action: str) -> None:
    with scripted(close) as (api, client), pytest.raises(Unavailable):
        getattr(client, action)("x")
    assert api.connections == 1


def test_the_operations_are_listed() -> None:
    catalogue = {"operations": [{"name": "resize"}], "default": [], "maxOperations": 10}
    with scripted(answer(200, catalogue)) as (_api, client):
        assert client.operations() == [{"name": "resize"}]


# ── Many tasks ────────────────────────────────────────────────────────────────────────────────


def photos(count: int) -> list[Submission]:
    return [
        Submission(input_image_url=f"https://example.com/{number}.jpg") for number in range(count)
    ]


def test_a_run_has_the_same_keys_when_it_is_repeated() -> None:
    keys = []
    for run in ("monday", "monday", "tuesday"):
        with scripted(task(201, status="COMPLETED")) as (api, client):
            outcomes = list(client.map(photos(5), run=run))
            keys.append(set(idempotency_keys(api)))
        assert all(outcome.completed for outcome in outcomes)
    assert len(keys[0]) == 5
    assert keys[0] == keys[1]
    assert not keys[0] & keys[2]


def test_no_more_tasks_are_open_than_the_concurrency_allows() -> None:
    lock = threading.Lock()
    submitted = 0
    yielded = 0
    most_open = 0

    def read_submissions() -> Iterator[Submission]:
        nonlocal submitted, most_open
        for photo in photos(20):
            with lock:
                submitted += 1
                most_open = max(most_open, submitted - yielded)
            yield photo

    with scripted(task(201, status="COMPLETED")) as (_api, client):
        for _ in client.map(read_submissions(), concurrency=3):
            with lock:
                yielded += 1
    assert (submitted, yielded) == (20, 20)
    assert most_open <= 6  # three that run, and three that have ended and are read one by one


def test_one_rejected_submission_does_not_stop_the_others() -> None:
    completed = task(201, status="COMPLETED")
    responses = [completed, problem(400, "invalid_request"), completed]
    with scripted(*responses) as (_api, client):
        outcomes = list(client.map(photos(3), concurrency=1))
    assert [outcome.completed for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, ApiError)


def test_a_task_that_is_open_at_its_time_limit_is_in_its_outcome() -> None:
    with scripted(task(201, status="RUNNING")) as (_api, client):
        [outcome] = client.map(photos(1), timeout_s=SHORT_S)
    assert isinstance(outcome.error, TaskNotFinal)
    assert outcome.task is not None
    assert outcome.task.status == "RUNNING"


def test_a_key_without_access_ends_the_run() -> None:
    with scripted(problem(401, "unauthorized")) as (api, client), pytest.raises(AccessDenied):
        list(client.map(photos(1_000), concurrency=2))
    assert api.connections < 10


def test_leaving_the_loop_ends_the_run() -> None:
    responses = [task(201, status="COMPLETED"), task(201, status="RUNNING")]
    with scripted(*responses) as (api, client):
        outcomes = client.map(photos(1_000), concurrency=2)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined] # a generator
    assert api.connections < 10


# ── Results ───────────────────────────────────────────────────────────────────────────────────

IMAGE = b"\x89PNG image"


def completed_task(store: LoopbackSource, body: bytes = IMAGE) -> bytes:
    result = {
        "contentType": "image/png",
        "bytes": len(body),
        "width": 1,
        "height": 1,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return task(status="COMPLETED", result=result, resultUrl=store.url("/result?signature=x"))


def test_a_result_is_downloaded_whole_and_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    with (
        serving(ok(IMAGE, "Connection: close")) as store,
        scripted(completed_task(store)) as (_api, client),
    ):
        client.download(client.get("x"), path)
    assert path.read_bytes() == IMAGE
    assert list(tmp_path.iterdir()) == [path]
    assert b"authorization" not in store.requests[0].lower()


def test_an_interrupted_download_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    half = response_head(200, f"Content-Length: {len(IMAGE)}") + IMAGE[:4]
    with (
        serving(half, ok(IMAGE, "Connection: close")) as store,
        scripted(completed_task(store)) as (_api, client),
    ):
        client.download(client.get("x"), path)
    assert path.read_bytes() == IMAGE


def test_other_bytes_than_the_result_are_not_written(tmp_path: Path) -> None:
    with (
        serving(ok(b"something else", "Connection: close")) as store,
        scripted(completed_task(store)) as (_api, client),
        pytest.raises(ResultCorrupt),
    ):
        client.download(client.get("x"), tmp_path / "result.png", timeout_s=1)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_task_has_no_result_to_read() -> None:
    with (
        scripted(task(status="FAILED", failureReason="No image.")) as (_api, client),
        pytest.raises(TaskFailed, match="No image"),
    ):
        client.read(client.get("x"))
