"""``python -m tests.soak --tasks N``. The last line of output is one JSON object of figures.

The exit code is 1 if a task is lost, stuck or conflicting, or if a worker exits by itself or with
another code than 0 after SIGTERM.
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
from tests.soak.driver import LoadDriver
from tests.soak.judge import SoakJudge, duplicate_executions
from tests.soak.process_faults import ProcessFault, ProcessFaults
from tests.soak.source import SoakSource
from tests.soak.worker_logs import recovery_times_s

FOLDER = Path(".local/soak")
"""Logs of all processes of the last run."""

WORKERS, CONCURRENT_TASKS = 3, 32
LEASE_S = 4
RECONCILE_INTERVAL_S = 15
PROGRESS_INTERVAL_S = 5
SETTINGS = {
    "LEASE_S": str(LEASE_S),
    "HEARTBEAT_INTERVAL_S": "1",
    "RETRY_BACKOFF_BASE_S": "1",
    "RETRY_BACKOFF_CAP_S": "4",
    "FETCH_TIMEOUT_S": "5",
    "PROCESSING_BUDGET_S": "30",
    "STOP_TIMEOUT_S": "6",
    "WORKER_CONCURRENCY": "4",
    "WORKER_VCPUS": "1",
    "DEADLINE_S": "180",
    "FIRST_CHECK_S": "20",
    "QUEUE_COUNT_LAG_S": "5",
    "SUBMISSIONS_PER_MINUTE": "0",
}
"""Shorter times than in production. The limits on failures are those of production."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--results", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # one line per call to moto is too much
    print(f"seed {options.seed}, {options.tasks} tasks", flush=True)
    try:
        figures, problems = soak(tasks=options.tasks, seed=options.seed)
    except EnginesNotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    line = json.dumps(figures)
    if options.results is not None:
        options.results.write_text(f"{line}\n")
    print(line)
    return 1 if problems else 0


def soak(*, tasks: int, seed: int) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Run the soak. Returns the figures and the problems."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    folder = FOLDER.absolute()
    started = time.monotonic()
    with (
        Engines(folder) as engines,
        SoakSource(seed) as source,
        AwsFaults(engines.endpoints, seed=seed) as aws_faults,
    ):
        clients = LoopbackClients(engines.endpoints)
        provisioned = provision(clients, prefix="soak", lease_s=LEASE_S)
        with Fleet(
            provisioned,
            aws_faults.endpoints,
            settings=SETTINGS,
            source_port=source.port,
            folder=folder,
        ) as fleet:
            client = fleet.client(connections=CONCURRENT_TASKS)
            driver = LoadDriver(client, source, tasks, CONCURRENT_TASKS, seed)
            process_faults = _run_load(fleet, driver, tasks=tasks, seed=seed)
            aws_faults.stop()
            _start_api(fleet)
            verdict = SoakJudge(client, source).verdict(driver.acknowledged)
            bucket = provisioned.resources.result_bucket
            duplicates = duplicate_executions(clients.s3, bucket=bucket)
    recovery = recovery_times_s(
        sorted(folder.glob("worker-*.log")), process_faults.losses, verdict.finished_at
    )
    print(f"AWS faults: {dict(aws_faults.counts)}")
    print(f"failure codes: {dict(verdict.failure_codes)}; {len(recovery)} tasks lost their worker")
    counts = process_faults.counts
    figures = {
        "acknowledged": len(driver.acknowledged),
        "completed": verdict.completed,
        "failed": verdict.failed,
        "canceled": verdict.canceled,
        "lost": verdict.lost,
        "stuck": verdict.stuck,
        "conflicting": verdict.conflicting,
        "duplicateExecutions": duplicates,
        "kills": counts[ProcessFault.KILL_WORKER] + counts[ProcessFault.KILL_API],
        "stops": counts[ProcessFault.STOP_WORKER],
        "freezes": counts[ProcessFault.FREEZE_WORKER],
        "faults": aws_faults.counts.total(),
        "recoveryP50s": _percentile(recovery, 0.50),
        "recoveryP99s": _percentile(recovery, 0.99),
        "seconds": round(time.monotonic() - started, 1),
    }
    return figures, [*process_faults.violations, *verdict.findings]


def _run_load(fleet: Fleet, driver: LoadDriver, *, tasks: int, seed: int) -> ProcessFaults:
    """Run load, process faults and reconciler until every task is final or has timed out."""
    _start_api(fleet)
    process_faults = ProcessFaults(
        fleet,
        workers=WORKERS,
        lease_s=LEASE_S,
        tasks=tasks,
        seed=seed,
        progress=lambda: len(driver.acknowledged),
    )
    started = time.monotonic()
    with (
        repeating(RECONCILE_INTERVAL_S, lambda: _reconcile(fleet)),
        repeating(PROGRESS_INTERVAL_S, lambda: _print_progress(driver, process_faults, started)),
        process_faults,
    ):
        driver.run()
    return process_faults


def _start_api(fleet: Fleet) -> None:
    fleet.start_api()
    fleet.wait_until_ready()


def _percentile(sorted_values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; None if there are no values."""
    if not sorted_values:
        return None
    return round(sorted_values[math.ceil(share * len(sorted_values)) - 1], 2)


def _reconcile(fleet: Fleet) -> None:
    fleet.start_reconciler().wait_for_exit()


def _print_progress(driver: LoadDriver, process_faults: ProcessFaults, started: float) -> None:
    faults = ", ".join(f"{fault.value} {count}" for fault, count in process_faults.counts.items())
    print(
        f"{time.monotonic() - started:5.0f} s: {len(driver.acknowledged)} acknowledged, "
        f"{driver.finished} finished; {faults}",
        flush=True,
    )


@contextmanager
def repeating(interval_s: float, action: Callable[[], None]) -> Iterator[None]:
    """Call `action` at this interval, in a thread, as long as the ``with`` lasts."""
    stopped = threading.Event()

    def repeat() -> None:
        while not stopped.wait(interval_s):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
