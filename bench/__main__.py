"""``make bench``: CPU time per task and per submission, and latency.

``python -m bench task`` runs only the named measurements. Each writes its figures and a description
of the machine to ``bench/results``.
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
from bench.overhead import submission_cost, task_cost

RESULTS = Path(__file__).parent / "results"

IMAGES = ("rocket.jpg", "coffee.png")
"""640 by 427 and 600 by 400 pixels. The smaller the image, the larger the share of the overhead."""
ROUNDS = 7
TASKS, SUBMISSIONS = 200, 1_000
"""Per round. They take seconds of CPU time, because the kernel reports it in steps of 10 ms."""
LATENCY_TASKS = 100

MAX_RATIO = 1.5
MAX_MEDIAN_MS = 150

Figures = dict[str, Any]


def _task(scratch: Path) -> Figures:
    return {
        image: task_cost.measure(image, tasks=TASKS, rounds=ROUNDS, scratch=scratch).figures()
        for image in IMAGES
    }


def _submission(scratch: Path) -> Figures:
    return submission_cost.measure(
        submissions=SUBMISSIONS, rounds=ROUNDS, scratch=scratch
    ).figures()


def _latency(scratch: Path) -> Figures:
    return latency.measure(IMAGES[0], tasks=LATENCY_TASKS, scratch=scratch).figures()


MEASUREMENTS: Mapping[str, Callable[[Path], Figures]] = {
    "task": _task,
    "submission": _submission,
    "latency": _latency,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("measurement", nargs="*", metavar=" | ".join(MEASUREMENTS))
    selected = parser.parse_args().measurement or list(MEASUREMENTS)
    if unknown := set(selected) - MEASUREMENTS.keys():
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    table = Table("", "measured", "baseline", "ratio", "target")
    for name in selected:
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
            target = f"{_verdict(median <= MAX_MEDIAN_MS)}: {MAX_MEDIAN_MS} ms"
            yield "latency, median", f"{median:.0f} ms", "", "", target
            yield "latency, 95th percentile", f"{p95:.0f} ms", "", "", ""


def _compared(label: str, compared: Figures) -> tuple[str, ...]:
    ratio = compared["ratio"]
    return (
        label,
        f"{compared['program_ms']:.2f} ms",
        f"{compared['baseline_ms']:.2f} ms",
        f"{ratio:.2f}",
        f"{_verdict(ratio <= MAX_RATIO)}: {MAX_RATIO}",
    )


def _verdict(reached: bool) -> str:  # noqa: FBT001 - its only argument
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
