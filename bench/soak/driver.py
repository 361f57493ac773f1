"""The load: submits until acknowledged, watches until the end, cancels now and then."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import urllib3

from bench.soak.source import SoakSource
from local.fleet.client import Answer, Client, Task, is_over
from services.common.clock import utc_now
from services.common.task_record import from_rfc3339

CANCELED = 0.02
"""Of the tasks, at a moment drawn from what a task takes."""
CANCEL_WITHIN_S = 2.0
ASK_AGAIN_S = 1.0
TRY_AGAIN_S = 0.5
"""After no answer, or one that says that it is the service's fault."""
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
    """`at_once` tasks are open at most. `stopped` tells that nothing will be answered any more."""

    client: Client
    source: SoakSource
    tasks: int
    at_once: int
    seed: int
    stopped: Callable[[], bool]
    acknowledged: list[Acknowledged] = field(default_factory=list)
    finished: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until every task is over, or its time and grace are up."""
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="client") as clients:
            for done in [clients.submit(self._see_through, n) for n in range(self.tasks)]:
                done.result()

    def _see_through(self, number: int) -> None:
        drawn = random.Random(f"{self.seed}/{number}")  # noqa: S311 - a repeatable experiment
        task = self._submit(number)
        if task is None:
            return
        with self._lock:
            self.acknowledged.append(task)
        if drawn.random() < CANCELED:
            time.sleep(CANCEL_WITHIN_S * drawn.random())
            self._ask(lambda: self.client.cancel(task.task_id))
        self._watch(task)
        with self._lock:
            self.finished += 1

    def _submit(self, number: int) -> Acknowledged | None:
        url = self.source.url(number)
        answer = self._ask(
            lambda: self.client.submit({"inputImageUrl": url}, idempotency_key=str(number))
        )
        return Acknowledged(answer.body["taskId"], url) if answer is not None else None

    def _watch(self, task: Acknowledged) -> None:
        deadline = None
        while deadline is None or utc_now() < deadline + GRACE:
            time.sleep(ASK_AGAIN_S)
            answer = self._ask(lambda: self.client.get(task.task_id))
            if answer is None or answer.status == 404:  # noqa: PLR2004 - the judge will see it
                return
            if is_over(answer.body):
                task.final = answer.body
                return
            deadline = from_rfc3339(answer.body["deadlineAt"])

    def _ask(self, call: Callable[[], Answer]) -> Answer | None:
        """The answer, after as many tries as it takes; None when nobody is there any more."""
        while not self.stopped():
            try:
                answer = call()
            except (urllib3.exceptions.HTTPError, ValueError):  # killed in mid-answer
                answer = None
            if answer is not None and answer.status not in {429, 500, 502, 503}:
                return answer
            time.sleep(TRY_AGAIN_S)
        return None
