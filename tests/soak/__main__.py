"""``python -m tests.soak --tasks N``: the last line of output is one JSON object of figures.

Exit code 1 unless nothing is lost, stuck or conflicting and every worker that was told to stop did.
"""

import argparse
import json
import logging
import math
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.endpoints import LoopbackClients
from testbed.engines.engines import Engines, EnginesNotInstalled
from testbed.fleet import Fleet, provision
from tests.soak.aws_faults import AwsFaults
from tests.soak.chaos import Blow, Chaos
from tests.soak.driver import Driver
from tests.soak.judge import SoakJudge, duplicate_executions
from tests.soak.source import SoakSource
from tests.soak.worker_logs import recovery_times_s

FOLDER = Path(".local/soak")
"""Logs of every process of the last run."""

WORKERS, TASKS_AT_ONCE = 3, 32
LEASE_S = 4
RECONCILE_EVERY_S = 15
TELL_EVERY_S = 5
SETTINGS = {
    "LEASE_S": str(LEASE_S),
    "HEARTBEAT_INTERVAL_S": "1",
    "RETRY_BACKOFF_BASE_S": "1",
    "RETRY_BACKOFF_CAP_S": "4",
    "FETCH_TIMEOUT_S": "5",
    "PROCESSING_BUDGET_S": "30",
    "STOP_TIMEOUT_S": "6",
    "WORKER_CONCURRENCY": "4",
    "IMAGING_PROCESSES": "1",
    "DEADLINE_S": "180",
    "FIRST_CHECK_S": "20",
    "UNSENT_CHECK_S": "3",
    "SUBMISSIONS_PER_MINUTE": "0",
}
"""As in production, but sooner. The number of attempts is that of production."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--results", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each call to moto
    print(f"seed {options.seed}, {options.tasks} tasks", flush=True)
    try:
        figures, wrong = soak(tasks=options.tasks, seed=options.seed)
    except EnginesNotInstalled as missing:
        print(missing, file=sys.stderr)
        return 2
    for sentence in wrong:
        print(sentence)
    line = json.dumps(figures)
    if options.results is not None:
        options.results.write_text(f"{line}\n")
    print(line)
    return 1 if wrong else 0


def soak(*, tasks: int, seed: int) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The figures, and what is wrong."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    folder = FOLDER.absolute()
    started = time.monotonic()
    with (
        Engines(folder) as engines,
        SoakSource(seed) as source,
        AwsFaults(engines.endpoints, seed=seed) as faults,
    ):
        clients = LoopbackClients(engines.endpoints)
        deployment = provision(clients, prefix="soak", lease_s=LEASE_S)
        with Fleet(
            deployment,
            faults.endpoints,
            settings=SETTINGS,
            source_port=source.port,
            folder=folder,
        ) as fleet:
            client = fleet.client(connections=TASKS_AT_ONCE)
            driver = Driver(client, source, tasks, TASKS_AT_ONCE, seed)
            chaos = _strain(fleet, driver, tasks=tasks, seed=seed)
            faults.stop()
            _start_api(fleet)
            verdict = SoakJudge(client, source).verdict(driver.acknowledged)
            duplicates = duplicate_executions(clients.s3, bucket=deployment.resources.result_bucket)
    recovery = recovery_times_s(
        sorted(folder.glob("worker-*.log")), chaos.disappearances, verdict.finished_at
    )
    print(f"AWS faults: {dict(faults.counts)}")
    print(f"failed: {dict(verdict.failure_codes)}; {len(recovery)} tasks lost their worker")
    figures = {
        "acknowledged": len(driver.acknowledged),
        "completed": verdict.completed,
        "failed": verdict.failed,
        "canceled": verdict.canceled,
        "lost": verdict.lost,
        "stuck": verdict.stuck,
        "conflicting": verdict.conflicting,
        "duplicateExecutions": duplicates,
        "kills": chaos.counts[Blow.KILL_WORKER] + chaos.counts[Blow.KILL_API],
        "stops": chaos.counts[Blow.STOP_WORKER],
        "freezes": chaos.counts[Blow.FREEZE_WORKER],
        "faults": faults.counts.total(),
        "recoveryP50s": _percentile(recovery, 0.50),
        "recoveryP99s": _percentile(recovery, 0.99),
        "seconds": round(time.monotonic() - started, 1),
    }
    return figures, [*chaos.complaints, *verdict.findings]


def _strain(fleet: Fleet, driver: Driver, *, tasks: int, seed: int) -> Chaos:
    """Load, blows and reconciler together, until every task is over or its time is up."""
    _start_api(fleet)
    chaos = Chaos(
        fleet,
        workers=WORKERS,
        lease_s=LEASE_S,
        tasks=tasks,
        seed=seed,
        progress=lambda: len(driver.acknowledged),
    )
    began = time.monotonic()
    with (
        repeating(RECONCILE_EVERY_S, lambda: _reconcile(fleet)),
        repeating(TELL_EVERY_S, lambda: _tell(driver, chaos, began)),
        chaos,
    ):
        driver.run()
    return chaos


def _start_api(fleet: Fleet) -> None:
    fleet.start_api()
    fleet.wait_until_ready()


def _percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted values; None when there are none."""
    return round(values[math.ceil(share * len(values)) - 1], 2) if values else None


def _reconcile(fleet: Fleet) -> None:
    fleet.start_reconciler().wait_for_exit()


def _tell(driver: Driver, chaos: Chaos, began: float) -> None:
    blows = ", ".join(f"{blow.value} {count}" for blow, count in chaos.counts.items())
    print(
        f"{time.monotonic() - began:5.0f} s: {len(driver.acknowledged)} acknowledged, "
        f"{driver.finished} over; {blows}",
        flush=True,
    )


@contextmanager
def repeating(interval_s: float, action: Callable[[], None]) -> Iterator[None]:
    """Do `action` again and again, in a thread, for as long as the ``with`` lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(interval_s):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
