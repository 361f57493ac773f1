"""The logs contain what is needed to follow a request, and no secrets."""

import json
from typing import Any
from urllib.parse import quote

from testbed.waiting import wait_until
from tests.flow.logs import leaks
from tests.flow.source import TOKEN, UNAVAILABLE, FlowSource, png
from tests.flow.system import DeployedSystem
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
"""Responses of a source that repeats the query string of the request, in place of ``%b``."""


def test_all_log_lines_of_a_task_have_the_request_id_of_its_submission(
    system: DeployedSystem, source: FlowSource
) -> None:
    task_id = system.submit(source.url(ok(png())), request_id="a-request-id-1")
    lines = wait_for_lines(system, task_id, "task completed")
    assert [line["message"] for line in lines] == [
        "task claimed",
        *["stage finished"] * 3,
        "task completed",
    ]
    assert {line["request_id"] for line in lines} == {"a-request-id-1"}


def test_a_failed_attempt_is_logged_with_its_traceback_and_without_the_url(
    system: DeployedSystem, source: FlowSource
) -> None:
    task_id = system.submit(source.url(UNAVAILABLE))
    lines = wait_for_lines(system, task_id, "attempt failed", times=2)
    failures = [line for line in lines if line["message"] == "attempt failed"]
    assert all("SourceUnavailable" in failure["exception"] for failure in failures)
    assert leaks(system.fleet) == []


def test_a_query_string_that_the_source_repeats_is_not_logged(
    system: DeployedSystem, source: FlowSource
) -> None:
    responses = [echo.replace(b"%b", TOKEN.encode()) for echo in ECHOES]
    task_ids = [system.submit(source.url(response)) for response in responses]
    assert {system.wait_until_final(task_id)["status"] for task_id in task_ids} == {"FAILED"}
    assert leaks(system.fleet) == []


def test_secrets_in_the_wrong_part_of_a_request_are_not_logged(
    system: DeployedSystem, source: FlowSource
) -> None:
    client, key = system.client, f"local.{system.fleet.provisioned.key_secret}"
    body = json.dumps({"inputImageUrl": source.url(ok(png()))}).encode()
    for header in ("X-Request-Id", "X-Api-Key", "Idempotency-Key", "Cookie", "traceparent"):
        client.request("POST", "/tasks", body=body, headers={header: key})
    for secret in (key, TOKEN):
        client.request("POST", "/tasks", body=secret.encode())
        client.request(
            "POST",
            "/tasks",
            body=json.dumps({"inputImageUrl": f"https://{secret}@example.com/"}).encode(),
        )
        client.request(
            "POST", "/tasks", body=json.dumps({"inputImageUrl": secret, secret: secret}).encode()
        )
        client.get_task(quote(secret, safe=""))
        client.get_task(f"x?token={secret}")
        client.cancel(f"{quote(source.url(ok(png())), safe='')}/{secret}")
    client.get_task("x" * 20_000 + TOKEN)
    assert leaks(system.fleet) == []


def test_the_search_for_leaks_finds_a_secret(api_only: DeployedSystem) -> None:
    planted = api_only.fleet.folder / "planted.log"
    planted.write_text(f"harmless\nhttp://127.0.0.1/image?token={TOKEN}\n")
    found = leaks(api_only.fleet)
    planted.unlink()
    assert found == [f"planted.log:2 contains {TOKEN}"]


def wait_for_lines(
    system: DeployedSystem, task_id: str, message: str, *, times: int = 1
) -> list[Any]:
    """Wait until the workers' log lines of a task contain `message`, and return the lines.

    Waiting is needed because a worker updates the row before it logs.
    """

    def matching_lines() -> list[Any]:
        logs = [log.read_text() for log in system.fleet.folder.glob("worker-*.log")]
        complete_lines = [line for log in logs for line in log.split("\n")[:-1]]
        lines = [json.loads(line) for line in complete_lines if task_id in line]
        return lines if [line["message"] for line in lines].count(message) == times else []

    return wait_until(matching_lines, f"'{message}' is logged: {task_id}")
