"""What the logs tell: enough to follow a request, and nothing that is private."""

import json

from tests.flow.flow import Flow
from tests.flow.logs import leaks
from tests.flow.source import QUERY, UNAVAILABLE, Source, png
from tests.worker.loopback_source import ok


def test_the_request_id_of_a_submission_is_in_every_line_of_its_work(
    steady: Flow, source: Source
) -> None:
    task_id = steady.submit(source.url(ok(png())), request_id="followed-through-1")
    steady.when_over(task_id)
    lines = [
        json.loads(line)
        for log in steady.fleet.folder.glob("worker-*.log")
        for line in log.read_text().splitlines()
        if task_id in line
    ]
    assert [line["message"] for line in lines] == [
        "task claimed",
        *["stage finished"] * 3,
        "task completed",
    ]
    assert {line["request_id"] for line in lines} == {"followed-through-1"}


def test_a_failed_attempt_is_logged_with_its_traceback_and_without_the_url(
    steady: Flow, source: Source
) -> None:
    url = source.url(UNAVAILABLE)
    task_id = steady.submit(url)
    steady.when_over(task_id)
    text = "".join(log.read_text() for log in steady.fleet.folder.glob("worker-*.log"))
    failures = [
        json.loads(line)
        for line in text.splitlines()
        if task_id in line and "attempt failed" in line
    ]
    assert len(failures) == 2
    assert all("SourceUnavailable" in failure["exception"] for failure in failures)
    assert leaks(steady.fleet) == []


def test_a_leak_would_be_found(bare: Flow) -> None:
    planted = bare.fleet.folder / "planted.log"
    planted.write_text(f"harmless\nhttp://127.0.0.1/picture?{QUERY}\n")
    found = leaks(bare.fleet)
    planted.unlink()
    assert found == [f"planted.log:2 shows {QUERY}"]
