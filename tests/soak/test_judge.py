"""The soak's judge finds lost, stuck and conflicting tasks."""

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image
from urllib3 import HTTPResponse

from taskfleet.api_client import Response, TaskBody
from tests.soak import serial_image
from tests.soak.driver import AcknowledgedTask
from tests.soak.judge import SoakJudge

TASK_ID = "6e1f7a4e-0000-4000-8000-000000000001"
URL = "http://127.0.0.1:1/image/1"


def gray_version(serial: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(serial_image.encode(serial))).convert("L").save(file, format="PNG")
    return file.getvalue()


STORED = gray_version(258)
COMPLETED: TaskBody = {
    "taskId": TASK_ID,
    "status": "COMPLETED",
    "willRetry": False,
    "attempt": 2,
    "finishedAt": "2026-01-02T03:04:05.678Z",
    "deadlineAt": "2026-01-02T03:05:00.000Z",
    "result": {"sha256": hashlib.sha256(STORED).hexdigest()},
    "resultUrl": f"http://127.0.0.1:2/soak-results/results/{TASK_ID}/2.png?X-Amz-Signature=1",
}


@dataclass
class FakeSystem:
    """The API's response, the stored result, and the serial numbers that the source served."""

    task: TaskBody = field(default_factory=lambda: COMPLETED)
    status: int = 200
    stored: bytes = STORED
    serials: frozenset[int] = frozenset({257, 258})

    def get_task(self, task_id: str) -> Response:
        return Response(self.status, {}, self.task)

    def download(self, url: str) -> HTTPResponse:
        return HTTPResponse(self.stored, status=200)

    def served(self, url: str) -> frozenset[int]:
        return self.serials

    def judge(self, final: TaskBody | None = None) -> tuple[int, int, int]:
        """The numbers of lost, stuck and conflicting tasks."""
        acknowledged = AcknowledgedTask(TASK_ID, URL, final or self.task)
        verdict = SoakJudge(self, self).verdict([acknowledged])
        return verdict.lost, verdict.stuck, verdict.conflicting


def task_with(**changes: Any) -> TaskBody:
    return {**COMPLETED, **changes}


def test_a_correct_result_is_no_finding() -> None:
    assert FakeSystem().judge() == (0, 0, 0)


def test_an_unknown_task_is_lost() -> None:
    assert FakeSystem(status=404).judge() == (1, 0, 0)


@pytest.mark.parametrize(
    "task",
    [
        task_with(status="RUNNING"),
        task_with(status="FAILED", willRetry=True),
        task_with(finishedAt="2026-01-02T03:06:00.000Z"),
    ],
    ids=["running", "waiting for a retry", "finished long after its deadline"],
)
def test_a_task_that_is_not_final_in_time_is_stuck(task: TaskBody) -> None:
    assert FakeSystem(task).judge() == (0, 1, 0)


@pytest.mark.parametrize(
    "system",
    [
        FakeSystem(task_with(attempt=3)),
        FakeSystem(stored=gray_version(257)),
        FakeSystem(serials=frozenset({257})),
        FakeSystem(task_with(status="CANCELED")),
    ],
    ids=[
        "another attempt's key",
        "another attempt's bytes",
        "another task's image",
        "a result of a canceled task",
    ],
)
def test_a_result_of_another_attempt_or_task_is_a_conflict(system: FakeSystem) -> None:
    assert system.judge() == (0, 0, 1)


def test_a_final_status_that_changes_is_a_conflict() -> None:
    assert FakeSystem().judge(final=task_with(status="CANCELED")) == (0, 0, 1)


def test_a_new_presigned_url_is_no_conflict() -> None:
    assert FakeSystem().judge(final=task_with(resultUrl="signed before")) == (0, 0, 0)
