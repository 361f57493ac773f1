"""``make bench``: what a task and a submission cost, and how long a client waits.

``python -m bench task submission latency`` measures only what is named. Each writes its figures to
``bench/results``, with the machine they are from.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import latency, machine
from bench.overhead import submit_cost, task_cost

RESULTS = Path(__file__).parent / "results"

IMAGES = ("rocket.jpg", "coffee.png")
"""640 by 427 and 600 by 400 pixels; the smaller the image, the more all else weighs."""
ROUNDS = 7
TASKS, SUBMISSIONS = 200, 1_000
"""In each round: some seconds of CPU time, which is counted in steps of 10 ms."""
WAITS = 100

MAX_RATIO = 1.5
MAX_MEDIAN_MS = 150

Figures = dict[str, Any]


def _task(scratch: Path) -> Figures:
    return {
        image: task_cost.measure(image, tasks=TASKS, rounds=ROUNDS, scratch=scratch).figures()
        for image in IMAGES
    }


def _submission(scratch: Path) -> Figures:
    return submit_cost.measure(submissions=SUBMISSIONS, rounds=ROUNDS, scratch=scratch).figures()


def _latency(scratch: Path) -> Figures:
    return latency.measure(IMAGES[0], tasks=WAITS, scratch=scratch).figures()


MEASUREMENTS: Mapping[str, Callable[[Path], Figures]] = {
    "task": _task,
    "submission": _submission,
    "latency": _latency,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("measurement", nargs="*", metavar=" | ".join(MEASUREMENTS))
    asked_for = parser.parse_args().measurement or list(MEASUREMENTS)
    if unknown := set(asked_for) - MEASUREMENTS.keys():
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    table = Table("", "measured", "floor", "ratio", "aim")
    for name in asked_for:
        with TemporaryDirectory(prefix="taskfleet-bench-") as folder:
            figures = MEASUREMENTS[name](Path(folder))
        _write(name, figures)
        for row in _rows(name, figures):
            table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"All figures are in {RESULTS.relative_to(Path.cwd())}.")


def _write(name: str, figures: Figures) -> None:
    RESULTS.mkdir(exist_ok=True)
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        name: figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _rows(name: str, figures: Figures) -> Iterator[tuple[str, ...]]:
    match name:
        case "task":
            for image, compared in figures.items():
                yield _compared(f"CPU per task, {image}", compared)
        case "submission":
            yield _compared("CPU per submission", figures)
        case "latency":
            median, p95 = figures["median_ms"], figures["p95_ms"]
            aim = f"{_verdict(median <= MAX_MEDIAN_MS)}: {MAX_MEDIAN_MS} ms"
            yield "wait for COMPLETED, median", f"{median:.0f} ms", "", "", aim
            yield "wait for COMPLETED, 95 %", f"{p95:.0f} ms", "", "", ""


def _compared(label: str, compared: Figures) -> tuple[str, ...]:
    ratio = compared["ratio"]
    return (
        label,
        f"{compared['program_ms']:.2f} ms",
        f"{compared['floor_ms']:.2f} ms",
        f"{ratio:.2f}",
        f"{_verdict(ratio <= MAX_RATIO)}: {MAX_RATIO}",
    )


def _verdict(reached: bool) -> str:  # noqa: FBT001 - a yes or no is all it needs
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
