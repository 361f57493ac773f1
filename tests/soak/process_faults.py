"""Injects faults into processes: SIGKILL, SIGTERM, and SIGSTOP for longer than a lease."""

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


class ProcessFault(Enum):
    KILL_WORKER = "worker kills"
    KILL_API = "API kills"
    STOP_WORKER = "worker stops"
    FREEZE_WORKER = "worker freezes"


TASKS_PER_FAULT: Final = {
    ProcessFault.KILL_WORKER: 50,
    ProcessFault.KILL_API: 160,
    ProcessFault.STOP_WORKER: 100,
    ProcessFault.FREEZE_WORKER: 150,
}
"""10,000 tasks mean 262 kills, 100 stops and 66 freezes."""

STOP_TIMEOUT_S: Final = 60
FREEZE_BEYOND_LEASE_S: Final = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class WorkerLoss:
    """A worker that was killed or frozen at `at`. Its log shows which tasks it had."""

    log: Path
    at: datetime


class ProcessFaults:
    """Keeps `workers` workers running and injects faults as the load progresses.

    Runs inside a ``with``, which ends after all planned faults. `seed` determines the plan, and
    `progress` returns the number of acknowledged tasks.
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
        self.counts = dict.fromkeys(ProcessFault, 0)
        self.losses: list[WorkerLoss] = []
        self.violations: list[str] = []
        """Workers that exited by themselves, or with another code than 0 after SIGTERM."""
        self._fleet = fleet
        self._lease_s = lease_s
        self._random = random.Random(seed)
        self._plan = _plan(tasks, self._random)
        self._progress = progress
        self._lock = threading.Lock()
        self._workers = [fleet.start_worker() for _ in range(workers)]
        self._executor = ThreadPoolExecutor(1 + workers, thread_name_prefix="process-faults")
        self._pending: list[Future[None]] = []
        self._load_finished = threading.Event()

    def __enter__(self) -> Self:
        self._pending.append(self._executor.submit(self._run))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._plan.clear()
        self._load_finished.set()
        for future in self._pending:  # faults append to this list while it is iterated
            future.result()
        self._executor.shutdown()
        self._replace_dead_workers()

    def _run(self) -> None:
        while self._plan:
            acknowledged, fault = self._plan[0]
            if self._progress() >= acknowledged or self._load_finished.wait(0.05):
                self._plan.popleft()
                self._inject(fault)

    def _inject(self, fault: ProcessFault) -> None:
        self.counts[fault] += 1
        if fault is ProcessFault.KILL_API:
            self._fleet.start_api()
            return
        worker = self._take_worker()
        match fault:
            case ProcessFault.KILL_WORKER:
                self.losses.append(WorkerLoss(worker.log, utc_now()))
                worker.kill()
                self._return_worker(self._fleet.start_worker())
            case ProcessFault.STOP_WORKER:
                worker.terminate()
                self._return_worker(self._fleet.start_worker())
                self._pending.append(self._executor.submit(self._check_exit, worker))
            case ProcessFault.FREEZE_WORKER:
                self.losses.append(WorkerLoss(worker.log, utc_now()))
                worker.freeze()
                duration_s = self._lease_s + self._random.uniform(*FREEZE_BEYOND_LEASE_S)
                self._pending.append(self._executor.submit(self._thaw, worker, duration_s))

    def _thaw(self, worker: WorkerProcess, after_s: float) -> None:
        time.sleep(after_s)
        worker.thaw()
        self._return_worker(worker)

    def _check_exit(self, worker: WorkerProcess) -> None:
        exit_code = worker.wait_for_exit(timeout_s=STOP_TIMEOUT_S)
        if exit_code != 0:
            self.violations.append(f"{worker.log.stem} exited with {exit_code} after SIGTERM")

    def _take_worker(self) -> WorkerProcess:
        """Take a worker that polls. One that is still starting has no task to lose."""
        return wait_until(self._take_polling_worker, "a worker polls")

    def _take_polling_worker(self) -> WorkerProcess | None:
        self._replace_dead_workers()
        with self._lock:
            polling = [worker for worker in self._workers if worker.is_polling()]
            if not polling:
                return None
            worker = self._random.choice(polling)
            self._workers.remove(worker)
            return worker

    def _return_worker(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._workers.append(worker)

    def _replace_dead_workers(self) -> None:
        with self._lock:
            for worker in [each for each in self._workers if not each.is_running()]:
                self._workers.remove(worker)
                self._workers.append(self._fleet.start_worker())
                self.violations.append(f"{worker.log.stem} exited by itself")


def _plan(tasks: int, rng: random.Random) -> deque[tuple[int, ProcessFault]]:
    """Numbers of acknowledged tasks with the fault due then. Every kind occurs at least once."""
    plan = [
        (rng.randrange(tasks), fault)
        for fault, tasks_per_fault in TASKS_PER_FAULT.items()
        for _ in range(max(1, tasks // tasks_per_fault))
    ]
    return deque(sorted(plan, key=lambda entry: entry[0]))
