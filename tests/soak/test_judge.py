"""The soak's judge finds what it is there to find."""

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image
from urllib3 import HTTPResponse

from taskfleet.api_client import Response, Task
from tests.soak import serial_image
from tests.soak.driver import Acknowledged
from tests.soak.judge import SoakJudge

TASK_ID = "6e1f7a4e-0000-4000-8000-000000000001"
URL = "http://127.0.0.1:1/image/1"


def gray_version(serial: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(serial_image.encode(serial))).convert("L").save(file, format="PNG")
    return file.getvalue()


STORED = gray_version(258)
COMPLETED: Task = {
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
class Outside:
    """What the API and the bucket answer, and what the source knows."""

    row: Task = field(default_factory=lambda: COMPLETED)
    status: int = 200
    stored: bytes = STORED
    serials: frozenset[int] = frozenset({257, 258})

    def get_task(self, task_id: str) -> Response:
        return Response(self.status, {}, self.row)

    def download(self, url: str) -> HTTPResponse:
        return HTTPResponse(self.stored, status=200)

    def served(self, url: str) -> frozenset[int]:
        return self.serials

    def judged(self, final: Task | None = None) -> tuple[int, int, int]:
        """Lost, stuck, conflicting."""
        acknowledged = Acknowledged(TASK_ID, URL, final or self.row)
        verdict = SoakJudge(self, self).verdict([acknowledged])
        return verdict.lost, verdict.stuck, verdict.conflicting


def changed(**changes: Any) -> Task:
    return {**COMPLETED, **changes}


def test_a_result_that_is_as_it_should_be_is_no_finding() -> None:
    assert Outside().judged() == (0, 0, 0)


def test_a_task_that_nobody_knows_is_lost() -> None:
    assert Outside(status=404).judged() == (1, 0, 0)


@pytest.mark.parametrize(
    "row",
    [
        changed(status="RUNNING"),
        changed(status="FAILED", willRetry=True),
        changed(finishedAt="2026-01-02T03:06:00.000Z"),
    ],
    ids=["running", "waiting to be retried", "ended long after its deadline"],
)
def test_a_task_that_is_not_over_in_time_is_stuck(row: Task) -> None:
    assert Outside(row).judged() == (0, 1, 0)


@pytest.mark.parametrize(
    "outside",
    [
        Outside(changed(attempt=3)),
        Outside(stored=gray_version(257)),
        Outside(serials=frozenset({257})),
        Outside(changed(status="CANCELED")),
    ],
    ids=[
        "another attempt's key",
        "another attempt's bytes",
        "another task's image",
        "a result of a canceled task",
    ],
)
def test_a_result_that_is_not_the_winner_s_is_a_conflict(outside: Outside) -> None:
    assert outside.judged() == (0, 0, 1)


def test_an_end_that_was_not_the_end_is_a_conflict() -> None:
    assert Outside().judged(final=changed(status="CANCELED")) == (0, 0, 1)


def test_a_url_that_is_signed_anew_is_no_change() -> None:
    assert Outside().judged(final=changed(resultUrl="signed before")) == (0, 0, 0)
