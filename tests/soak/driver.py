"""The load: submits until acknowledged, watches until the end, cancels now and then."""

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
from taskfleet.api_client import ApiClient, Response, Task, is_final
from tests.soak.source import SoakSource

CANCELED = 0.02
"""Of the tasks, at a moment drawn from what a task takes."""
CANCEL_WITHIN_S = 2.0
ASK_AGAIN_S = 1.0
TRY_AGAIN_S = 0.5
"""After no answer, or one that says that it is the service's fault."""
OF_THE_SERVICE = frozenset({429, 500, 502, 503})
GIVE_UP_AFTER_S = 120.0
"""An API that answers nothing for so long is not coming back."""
GRACE = timedelta(seconds=30)
"""After a task's deadline, for the reconciler's next run to end it."""


@dataclass(slots=True)
class Acknowledged:
    """A task whose submission was answered with 2xx, and what its client saw of it."""

    task_id: str
    url: str
    final: Task | None = None
    """The first answer that said it was over; None if none did until the deadline and grace."""


@dataclass(slots=True)
class Driver:
    """`at_once` tasks are open at most."""

    client: ApiClient
    source: SoakSource
    tasks: int
    at_once: int
    seed: int
    acknowledged: list[Acknowledged] = field(default_factory=list)
    finished: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until every task is over, or its time and grace are up.

        Raises ``NoAnswer`` when the API does not come back.
        """
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="client") as clients:
            for done in [clients.submit(self._see_through, n) for n in range(self.tasks)]:
                done.result()

    def _see_through(self, number: int) -> None:
        drawn = random.Random(f"{self.seed}/{number}")
        task = self._submit(number)
        with self._lock:
            self.acknowledged.append(task)
        if drawn.random() < CANCELED:
            time.sleep(CANCEL_WITHIN_S * drawn.random())
            _ask(lambda: self.client.cancel(task.task_id))
        self._watch(task)
        with self._lock:
            self.finished += 1

    def _submit(self, number: int) -> Acknowledged:
        url = self.source.url(number)
        answer = _ask(
            lambda: self.client.submit({"inputImageUrl": url}, idempotency_key=str(number))
        )
        return Acknowledged(answer.body["taskId"], url)

    def _watch(self, task: Acknowledged) -> None:
        deadline = None
        while deadline is None or utc_now() < deadline + GRACE:
            time.sleep(ASK_AGAIN_S)
            answer = _ask(lambda: self.client.get_task(task.task_id))
            if answer.status == HTTPStatus.NOT_FOUND:
                return  # the judge will see it
            if is_final(answer.body):
                task.final = answer.body
                return
            deadline = from_rfc3339(answer.body["deadlineAt"])


class NoAnswer(Exception):
    pass


def _ask(call: Callable[[], Response]) -> Response:
    """The answer, after as many tries as it takes; raises ``NoAnswer``."""
    end = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < end:
        try:
            answer = call()
        except (urllib3.exceptions.HTTPError, ValueError):  # killed in mid-answer
            answer = None
        if answer is not None and answer.status not in OF_THE_SERVICE:
            return answer
        time.sleep(TRY_AGAIN_S)
    raise NoAnswer(f"The API has not answered for {GIVE_UP_AFTER_S:g} s.")
