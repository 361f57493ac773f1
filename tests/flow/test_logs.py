"""What the logs tell: enough to follow a request, and nothing that is private."""

import json
from typing import Any
from urllib.parse import quote

from testbed.waiting import wait_until
from tests.flow.flow import Flow
from tests.flow.logs import leaks
from tests.flow.source import TOKEN, UNAVAILABLE, Source, png
from tests.worker.fetching.loopback_source import ok, redirect, response_head

ECHOES = (
    b"HTTP/1.1 %b OK\r\n\r\n",
    b"HTTP/%b 200 OK\r\n\r\n",
    b"GET /image?token=%b HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 404 %b\r\nContent-Length: 0\r\n\r\n",
    response_head(200, "Transfer-Encoding: chunked") + b"token=%b\r\n",
    response_head(200, "Content-Encoding: %b, gzip", "Content-Length: 4") + b"none",
    redirect("http://[%b]/"),
    redirect("http://%b:x/"),
    redirect("http://169.254.170.2/?token=%b"),
    redirect("https://127.0.0.1/?token=%b"),
    ok(b"<!doctype html>%b"),
    ok(b"BM%b" + b"\x28\0\0\0" * 100),
    ok(b"II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\x40\0\0\0\x1a\0\0\0\0\0\0\0%b"),
)
"""Answers of a source that repeats the query it was asked with, in place of ``%b``."""


def test_the_request_id_of_a_submission_is_in_every_line_of_its_work(
    steady: Flow, source: Source
) -> None:
    task_id = steady.submit(source.url(ok(png())), request_id="followed-through-1")
    lines = lines_when_said(steady, task_id, "task completed")
    assert [line["message"] for line in lines] == [
        "task claimed",
        *["stage finished"] * 3,
        "task completed",
    ]
    assert {line["request_id"] for line in lines} == {"followed-through-1"}


def test_a_failed_attempt_is_logged_with_its_traceback_and_without_the_url(
    steady: Flow, source: Source
) -> None:
    task_id = steady.submit(source.url(UNAVAILABLE))
    lines = lines_when_said(steady, task_id, "attempt failed", times=2)
    failures = [line for line in lines if line["message"] == "attempt failed"]
    assert all("SourceUnavailable" in failure["exception"] for failure in failures)
    assert leaks(steady.fleet) == []


def test_a_source_that_repeats_the_query_does_not_get_it_into_a_log(
    steady: Flow, source: Source
) -> None:
    answers = [echo.replace(b"%b", TOKEN.encode()) for echo in ECHOES]
    task_ids = [steady.submit(source.url(answer)) for answer in answers]
    assert {steady.when_over(task_id)["status"] for task_id in task_ids} == {"FAILED"}
    assert leaks(steady.fleet) == []


def test_what_a_client_puts_in_the_wrong_place_is_in_no_log(steady: Flow, source: Source) -> None:
    client, key = steady.client, f"local.{steady.fleet.provisioned.key_secret}"
    body = json.dumps({"inputImageUrl": source.url(ok(png()))}).encode()
    for header in ("X-Request-Id", "X-Api-Key", "Idempotency-Key", "Cookie", "traceparent"):
        client.request("POST", "/tasks", body=body, headers={header: key})
    for lost in (key, TOKEN):
        client.request("POST", "/tasks", body=lost.encode())
        client.request(
            "POST",
            "/tasks",
            body=json.dumps({"inputImageUrl": f"https://{lost}@example.com/"}).encode(),
        )
        client.request(
            "POST", "/tasks", body=json.dumps({"inputImageUrl": lost, lost: lost}).encode()
        )
        client.get_task(quote(lost, safe=""))
        client.get_task(f"x?token={lost}")
        client.cancel(f"{quote(source.url(ok(png())), safe='')}/{lost}")
    client.get_task("x" * 20_000 + TOKEN)
    assert leaks(steady.fleet) == []


def test_a_leak_would_be_found(bare: Flow) -> None:
    planted = bare.fleet.folder / "planted.log"
    planted.write_text(f"harmless\nhttp://127.0.0.1/image?token={TOKEN}\n")
    found = leaks(bare.fleet)
    planted.unlink()
    assert found == [f"planted.log:2 shows {TOKEN}"]


def lines_when_said(flow: Flow, task_id: str, message: str, *, times: int = 1) -> list[Any]:
    """The workers' lines of a task: awaited, since a worker writes its row first."""

    def said() -> list[Any]:
        logs = [log.read_text() for log in flow.fleet.folder.glob("worker-*.log")]
        whole_lines = [line for log in logs for line in log.split("\n")[:-1]]
        lines = [json.loads(line) for line in whole_lines if task_id in line]
        return lines if [line["message"] for line in lines].count(message) == times else []

    return wait_until(said, f"'{message}' was logged: {task_id}")
