"""What happens to processes: SIGKILL, SIGTERM, and SIGSTOP for longer than a lease."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final, Self

from services.common.clock import utc_now
from testbed.fleet import Fleet, WorkerProcess
from testbed.waiting import wait_until


class Blow(Enum):
    KILL_WORKER = "kill a worker"
    KILL_API = "kill the API"
    STOP_WORKER = "stop a worker"
    FREEZE_WORKER = "freeze a worker"


TASKS_PER_BLOW: Final = {
    Blow.KILL_WORKER: 50,
    Blow.KILL_API: 160,
    Blow.STOP_WORKER: 100,
    Blow.FREEZE_WORKER: 150,
}
"""For 10,000 tasks: 262 kills, 100 stops, 66 freezes."""

STOPS_WITHIN_S: Final = 60
FREEZE_BEYOND_LEASE_S: Final = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class Disappearance:
    """A worker that went without a word, or froze, at that moment; its log says what it had."""

    log: Path
    at: datetime


class Chaos:
    """Keeps `workers` workers running, and strikes whenever the load has come so far.

    Runs inside a ``with``, at whose end every planned blow was struck and is over. Which blow comes
    when is drawn from `seed`; `progress` is the number of acknowledged tasks.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        workers: int,
        lease_s: float,
        tasks: int,
        seed: int,
        progress: Callable[[], int],
    ) -> None:
        self.counts = dict.fromkeys(Blow, 0)
        self.disappearances: list[Disappearance] = []
        self.complaints: list[str] = []
        """What a worker did that it must never do: end by itself, or not end as told."""
        self._fleet = fleet
        self._lease_s = lease_s
        self._random = random.Random(seed)
        self._plan = _plan(tasks, self._random)
        self._progress = progress
        self._lock = threading.Lock()
        self._workers = [fleet.start_worker() for _ in range(workers)]
        self._threads = ThreadPoolExecutor(1 + workers, thread_name_prefix="chaos")
        self._under_way: list[Future[None]] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._under_way.append(self._threads.submit(self._run))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._plan.clear()
        self._over.set()
        for blow in self._under_way:  # which grows as long as blows are struck
            blow.result()
        self._threads.shutdown()
        self._complain_of_the_dead()

    def _run(self) -> None:
        while self._plan:
            number, blow = self._plan[0]
            if self._progress() >= number or self._over.wait(0.05):
                self._plan.popleft()
                self._strike(blow)

    def _strike(self, blow: Blow) -> None:
        self.counts[blow] += 1
        if blow is Blow.KILL_API:
            self._fleet.start_api()
            return
        worker = self._take_worker()
        match blow:
            case Blow.KILL_WORKER:
                self.disappearances.append(Disappearance(worker.log, utc_now()))
                worker.kill()
                self._give_back(self._fleet.start_worker())
            case Blow.STOP_WORKER:
                worker.terminate()
                self._give_back(self._fleet.start_worker())
                self._under_way.append(self._threads.submit(self._see_end, worker))
            case Blow.FREEZE_WORKER:
                self.disappearances.append(Disappearance(worker.log, utc_now()))
                worker.freeze()
                for_s = self._lease_s + self._random.uniform(*FREEZE_BEYOND_LEASE_S)
                self._under_way.append(self._threads.submit(self._thaw_later, worker, for_s))

    def _thaw_later(self, worker: WorkerProcess, for_s: float) -> None:
        time.sleep(for_s)
        worker.thaw()
        self._give_back(worker)

    def _see_end(self, worker: WorkerProcess) -> None:
        code = worker.wait_for_exit(timeout_s=STOPS_WITHIN_S)
        if code != 0:
            self.complaints.append(f"{worker.log.stem} ended with {code} after SIGTERM")

    def _take_worker(self) -> WorkerProcess:
        """One that polls: what has just been started has nothing to lose yet."""
        return wait_until(self._polling_worker, "a worker polls")

    def _polling_worker(self) -> WorkerProcess | None:
        self._complain_of_the_dead()
        with self._lock:
            polling = [worker for worker in self._workers if worker.is_polling()]
            if not polling:
                return None
            worker = self._random.choice(polling)
            self._workers.remove(worker)
            return worker

    def _give_back(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._workers.append(worker)

    def _complain_of_the_dead(self) -> None:
        with self._lock:
            for worker in [each for each in self._workers if not each.is_running()]:
                self._workers.remove(worker)
                self._workers.append(self._fleet.start_worker())
                self.complaints.append(f"{worker.log.stem} ended by itself")


def _plan(tasks: int, draw: random.Random) -> deque[tuple[int, Blow]]:
    """At how many acknowledged tasks which blow is struck: every kind at least once."""
    plan = [
        (draw.randrange(tasks), blow)
        for blow, tasks_per_blow in TASKS_PER_BLOW.items()
        for _ in range(max(1, tasks // tasks_per_blow))
    ]
    return deque(sorted(plan, key=lambda entry: entry[0]))
