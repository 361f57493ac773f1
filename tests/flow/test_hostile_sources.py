"""Sources that send no image, are hostile or fail: the task ends, and the worker keeps working.

Every failed task is followed by one that completes.
"""

import pytest

from services.common.task_record import from_rfc3339
from taskfleet.api_client import TaskBody
from tests.flow.source import (
    UNAVAILABLE,
    FlowSource,
    RecoveringResponder,
    bomb,
    drip,
    endless,
    png,
)
from tests.flow.system import DeployedSystem
from tests.worker.fetching.loopback_source import Responder, ok, response_head

HTML = b"<!doctype html><title>Log in</title><p>Please log in to see this image."


@pytest.mark.parametrize(
    ("response", "code", "reason"),
    [
        (response_head(404, "Content-Length: 0"), "source_not_found", "no such image"),
        (response_head(403, "Content-Length: 0"), "source_refused", "did not deliver"),
        (ok(HTML, "Content-Type: text/html"), "not_an_image", "not an image"),
        (ok(png()[: len(png()) // 2]), "image_damaged", "damaged"),
        (ok(bomb()), "image_too_large", "pixels"),
        (endless, "source_too_large", "larger than"),
        (drip, "source_timeout", "too long"),
        (response_head(200, "Content-Length: 999"), "source_unreachable", "closed the connection"),
        (UNAVAILABLE, "source_unavailable", "unavailable"),
    ],
    ids=[
        "404",
        "403",
        "HTML instead of an image",
        "half an image",
        "50,000 x 50,000 pixels",
        "an endless body",
        "one byte per second",
        "a closed connection",
        "503 every time",
    ],
)
def test_the_task_fails_with_a_code_and_a_reason(
    system: DeployedSystem,
    source: FlowSource,
    response: bytes | Responder,
    code: str,
    reason: str,
) -> None:
    task = system.wait_until_final(system.submit(source.url(response)))
    assert (task["status"], task["failureCode"]) == ("FAILED", code), task
    assert reason in task["failureReason"]
    assert "resultUrl" not in task
    assert from_rfc3339(task["finishedAt"]) <= from_rfc3339(task["deadlineAt"])
    next_task = system.wait_until_final(system.submit(source.url(ok(png()))))
    assert next_task["status"] == "COMPLETED"
    # A failing source must not page an operator.
    system.wait_until_queue_is_empty()
    assert system.dead_letter_count() == 0


def test_a_blocked_address_fails_at_the_first_attempt(system: DeployedSystem) -> None:
    task = system.wait_until_final(system.submit("http://169.254.170.2/v2/credentials"))
    assert (task["failureCode"], task["attempt"]) == ("source_address_blocked", 1)


def test_a_task_is_retried_until_its_source_recovers(
    api_only: DeployedSystem, source: FlowSource
) -> None:
    api_only.fleet.start_worker()
    image = RecoveringResponder(ok(png()))
    task_id = api_only.submit(source.url(image))
    failed = api_only.wait_for_task(task_id, will_retry, "the task has failed and will be retried")
    assert failed["failureCode"] == "source_unavailable"
    image.recover()
    task = api_only.wait_until_final(task_id)
    assert task["status"] == "COMPLETED"
    assert task["attempt"] > 1
    assert "failureCode" not in task
    api_only.wait_until_queue_is_empty()


def will_retry(task: TaskBody) -> bool:
    return task["status"] == "FAILED" and task["willRetry"] is True
