"""The load: submits tasks until they are acknowledged, follows them, and cancels some."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus

import urllib3

from services.common.clock import utc_now
from services.common.task_record import from_rfc3339
from taskfleet.api_client import ApiClient, Response, TaskBody, is_final
from tests.soak.source import SoakSource

CANCELED = 0.02
"""Share of tasks that are canceled."""
CANCEL_WITHIN_S = 2.0
"""Latest random time of a cancellation, about the duration of a task."""
POLL_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 0.5
RETRIED_STATUSES = frozenset({429, 500, 502, 503})
"""Statuses after which a client tries again, as after no response."""
GIVE_UP_AFTER_S = 120.0
"""An API that does not respond for this long has stopped working."""
GRACE = timedelta(seconds=30)
"""Time after a task's deadline in which the reconciler's next run must fail it."""


@dataclass(slots=True)
class AcknowledgedTask:
    """A task whose submission was acknowledged with a 2xx status.

    `final` is the first response with a final status; None if there was none before the task's
    deadline plus ``GRACE``.
    """

    task_id: str
    url: str
    final: TaskBody | None = None


@dataclass(slots=True)
class LoadDriver:
    """Runs `tasks` tasks, at most `concurrency` at the same time."""

    client: ApiClient
    source: SoakSource
    tasks: int
    concurrency: int
    seed: int
    acknowledged: list[AcknowledgedTask] = field(default_factory=list)
    finished: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Run until every task is final, or until its deadline plus ``GRACE``.

        Raises ``ApiNotResponding`` if the API stops working.
        """
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="client") as executor:
            for future in [executor.submit(self._run_task, n) for n in range(self.tasks)]:
                future.result()

    def _run_task(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        task = self._submit(number)
        with self._lock:
            self.acknowledged.append(task)
        if rng.random() < CANCELED:
            time.sleep(CANCEL_WITHIN_S * rng.random())
            _retry(lambda: self.client.cancel(task.task_id))
        self._follow(task)
        with self._lock:
            self.finished += 1

    def _submit(self, number: int) -> AcknowledgedTask:
        url = self.source.url(number)
        response = _retry(
            lambda: self.client.submit({"inputImageUrl": url}, idempotency_key=str(number))
        )
        return AcknowledgedTask(response.body["taskId"], url)

    def _follow(self, task: AcknowledgedTask) -> None:
        deadline = None
        while deadline is None or utc_now() < deadline + GRACE:
            time.sleep(POLL_INTERVAL_S)
            response = _retry(lambda: self.client.get_task(task.task_id))
            if response.status == HTTPStatus.NOT_FOUND:
                return  # the judge reports it as lost
            if is_final(response.body):
                task.final = response.body
                return
            deadline = from_rfc3339(response.body["deadlineAt"])


class ApiNotResponding(Exception):
    pass


def _retry(call: Callable[[], Response]) -> Response:
    """Repeat a call until it gets a conclusive response. Raises ``ApiNotResponding``."""
    end = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < end:
        try:
            response = call()
        except (urllib3.exceptions.HTTPError, ValueError):  # the API was killed during the call
            response = None
        if response is not None and response.status not in RETRIED_STATUSES:
            return response
        time.sleep(RETRY_INTERVAL_S)
    raise ApiNotResponding(f"The API has not responded for {GIVE_UP_AFTER_S:g} s.")
