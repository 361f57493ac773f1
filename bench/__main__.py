"""``make bench``: Taskfleet beside Celery, Dramatiq and a bare loop, on a stub of AWS.

``python -m bench tasks`` runs only the named measurements. Each writes its figures and a
description of the machine to ``bench/results``. ``python -m bench gate`` writes nothing. It
compares a few ratios with the recorded ones, and fails if one is worse.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from bench import api, gate, growth, latency, machine, tasks
from bench.contestants import FLOOR, TASKFLEET
from bench.figures import Figures
from bench.images import write_images
from bench.tasks import AWS_LATENCIES, CASES

RESULTS = Path(__file__).parent / "results"

ROUNDS = 3
SUBMISSIONS = 1_000
"""Per round. They take seconds of CPU time, because the kernel reports it in steps of 10 ms."""
REQUESTS_PER_S = (50, 150, 300)
LOAD_S = 4.0
LATENCY_TASKS = 50
BACKLOGS = (100, 1_000, 10_000, 100_000)
TASKS_OF_BACKLOG, TASKS_OF_LARGEST_BACKLOG = 1_000, 20_000

Report = Callable[[str], None]


def _tasks(folder: Path, report: Report) -> Figures:
    return {
        "latencies_s": asdict(AWS_LATENCIES),
        "rounds": ROUNDS,
        "cases": tasks.measure(
            CASES, rounds=ROUNDS, images=folder / "images", scratch=folder, report=report
        ),
    }


def _submissions(folder: Path, report: Report) -> Figures:
    return api.measure_submissions(
        submissions=SUBMISSIONS,
        rounds=ROUNDS,
        images=folder / "images",
        scratch=folder,
        report=report,
    )


def _load(folder: Path, report: Report) -> Figures:
    return api.measure_load(
        REQUESTS_PER_S,
        latencies=AWS_LATENCIES,
        duration_s=LOAD_S,
        rounds=ROUNDS,
        images=folder / "images",
        scratch=folder,
        report=report,
    )


def _latency(folder: Path, report: Report) -> Figures:
    return latency.measure(
        latencies=AWS_LATENCIES,
        tasks=LATENCY_TASKS,
        images=folder / "images",
        scratch=folder,
        report=report,
    )


def _growth(folder: Path, report: Report) -> Figures:
    return growth.measure(
        BACKLOGS,
        tasks=TASKS_OF_BACKLOG,
        tasks_of_largest=TASKS_OF_LARGEST_BACKLOG,
        images=folder / "images",
        scratch=folder,
        report=report,
    )


MEASUREMENTS: Mapping[str, Callable[[Path, Report], Figures]] = {
    "tasks": _tasks,
    "submissions": _submissions,
    "load": _load,
    "latency": _latency,
    "growth": _growth,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("measurement", nargs="*", metavar=" | ".join((*MEASUREMENTS, "gate")))
    selected = parser.parse_args().measurement or list(MEASUREMENTS)
    if unknown := set(selected) - MEASUREMENTS.keys() - {"gate"}:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    started = time.monotonic()

    def report(step: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {step}", flush=True)

    with TemporaryDirectory(prefix="taskfleet-bench-") as name:
        folder = Path(name)
        write_images(folder / "images")
        if "gate" in selected:
            return _gate(folder, report)
        for measurement in selected:
            _write(measurement, MEASUREMENTS[measurement](folder, report))
    report(f"All figures are in {RESULTS.relative_to(Path.cwd())}.")
    return 0


def _write(name: str, figures: Figures) -> None:
    RESULTS.mkdir(exist_ok=True)
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        name: figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _read(name: str) -> Figures:
    figures: Figures = json.loads((RESULTS / f"{name}.json").read_text())[name]
    return figures


def _gate(folder: Path, report: Report) -> int:
    """Return 1 if Taskfleet has become slower, and 0 otherwise."""
    cases = [
        replace(case, contestants=[each for each in case.contestants if each in {TASKFLEET, FLOOR}])
        for case in CASES
        if case.name in {gate.COMPUTING, gate.WAITING}
    ]

    def measure() -> gate.Ratios:
        figures = tasks.measure(
            cases, rounds=ROUNDS, images=folder / "images", scratch=folder, report=report
        )
        return gate.ratios(figures, _submissions(folder, report))

    recorded = gate.ratios(_read("tasks")["cases"], _read("submissions"))
    verdicts = gate.verdicts(measure, recorded)
    table = Table("compared with the floor", "measured", "recorded", "limit", "")
    for verdict in verdicts:
        table.add_row(
            verdict.name,
            f"{verdict.measured:.2f}",
            f"{verdict.recorded:.2f}",
            f"{verdict.recorded * gate.MAX_WORSE:.2f}",
            "worse" if verdict.is_worse else "",
        )
    Console().print(table)
    report(f"Load average: {os.getloadavg()[0]:.1f}.")
    return int(any(verdict.is_worse for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
