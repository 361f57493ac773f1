"""Images that are none, and servers that mean harm or have trouble: the task ends, nothing else.

Every one is followed by a task that runs normally.
"""

import pytest

from services.common.task_record import from_rfc3339
from taskfleet.api_client import Task
from tests.flow.flow import Flow
from tests.flow.source import UNAVAILABLE, Recovering, Source, bomb, drip, endless, png
from tests.worker.fetching.loopback_source import Responder, ok, response_head

HTML = b"<!doctype html><title>Log in</title><p>Please log in to see this image."


@pytest.mark.parametrize(
    ("answer", "code", "sentence"),
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
        "one byte a second",
        "broken off",
        "503 for ever",
    ],
)
def test_the_task_fails_for_good_with_a_code_and_a_sentence(
    steady: Flow, source: Source, answer: bytes | Responder, code: str, sentence: str
) -> None:
    task = steady.when_over(steady.submit(source.url(answer)))
    assert (task["status"], task["failureCode"]) == ("FAILED", code), task
    assert sentence in task["failureReason"]
    assert "resultUrl" not in task
    assert from_rfc3339(task["finishedAt"]) <= from_rfc3339(task["deadlineAt"])
    assert steady.when_over(steady.submit(source.url(ok(png()))))["status"] == "COMPLETED"
    # A stranger's server pages nobody.
    steady.when_queue_is_empty()
    assert steady.dead_letters() == 0


def test_a_blocked_address_fails_at_once(steady: Flow) -> None:
    task = steady.when_over(steady.submit("http://169.254.170.2/v2/credentials"))
    assert (task["failureCode"], task["attempt"]) == ("source_address_blocked", 1)


def test_a_source_that_recovers_gets_its_task_completed(bare: Flow, source: Source) -> None:
    bare.fleet.start_worker()
    image = Recovering(ok(png()))
    task_id = bare.submit(source.url(image))
    waiting = bare.when(task_id, will_be_tried_again, "a failure that is told, and will be retried")
    assert waiting["failureCode"] == "source_unavailable"
    image.recover()
    task = bare.when_over(task_id)
    assert task["status"] == "COMPLETED"
    assert task["attempt"] > 1
    assert "failureCode" not in task
    bare.when_queue_is_empty()


def will_be_tried_again(task: Task) -> bool:
    return task["status"] == "FAILED" and task["willRetry"] is True
