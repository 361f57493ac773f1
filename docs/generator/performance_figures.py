"""Write the figures of the last `make bench` into docs/performance.md.

``python -m docs.generator.performance_figures``
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from docs.generator.markdown import markdown_table
from docs.generator.sections import fill_sections

PAGE = Path("docs/performance.md")
RESULTS = Path("bench/results")
MEASUREMENTS = ("tasks", "submissions", "load", "latency", "growth")

QUIET_CORES = 0.2
"""How much other load hardly changes the throughput."""
BUSY = """**Other programs kept the machine busy during this run.** Its throughput and latencies say
little, and its CPU times are too high. Its memory, calls and write units are valid."""

Figures = Mapping[str, Any]


def read_results() -> Figures:
    """The content of each file of results."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in MEASUREMENTS}


def with_figures(page: str, results: Figures) -> str:
    """Replace the generated sections of `page`."""
    cases = results["tasks"]["tasks"]["cases"]
    tables = {name: case_table(case) for name, case in cases.items()}
    return fill_sections(
        page,
        {
            "machine": machine(results["tasks"]),
            **tables,
            "calls": calls_table(cases["small image, with latencies"]),
            "submissions": submissions_table(results["submissions"]["submissions"]),
            "load": load_table(results["load"]["load"]),
            "latency": latency(results["latency"]["latency"]),
            "growth": growth_table(results["growth"]["growth"]),
            "memory growth": memory_growth(results["growth"]["growth"]),
        },
    )


def machine(tasks: Figures) -> str:
    description, contestants = tasks["machine"], tasks["tasks"]["cases"].values()
    everyone = [each for case in contestants for each in case["contestants"].values()]
    others = max(each["other_cores"]["median"] for each in everyone)
    stub = max(each["stub_cores"]["max"] for each in everyone)
    versions = {**description["packages"], **description["peers"]}
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    day = datetime.fromisoformat(tasks["measured_at"]).date()
    table = markdown_table(
        ["", ""],
        [
            ["measured", _day(day)],
            ["machine", f"{description['cores']} cores of {description['cpu']}"],
            ["system", f"{description['system']}, Python {description['python']}"],
            ["packages", packages],
            ["tasks per round", _tasks_per_round(tasks["tasks"]["cases"])],
            ["load average at the end", str(description["load_average"][0])],
            ["other load, at most", f"{others:.2f} cores"],
            ["stub of AWS, at most", f"{stub:.2f} cores"],
        ],
    )
    return table if others <= QUIET_CORES else f"{table}\n\n{BUSY}"


def _tasks_per_round(cases: Figures) -> str:
    sizes = [case["tasks_per_round"] for case in cases.values()]
    return f"{min(sizes):,} to {max(sizes):,}"


def _day(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"


def case_table(case: Figures) -> str:
    return markdown_table(
        [
            "",
            "tasks/s",
            "tasks/s per core",
            "CPU ms per task",
            "peak RSS, MB",
            "PSS, MB",
            "CPUs in use",
        ],
        [
            [
                name,
                _spread(each["tasks_per_s"]),
                _number(each["tasks_per_s_per_core"]["median"]),
                _spread(each["cpu_ms"]),
                f"{each['peak_rss_mb']['median']:.0f}",
                f"{each['pss_mb']['median']:.0f}",
                f"{each['utilization']['median']:.0%}",
            ]
            for name, each in case["contestants"].items()
        ],
    )


def calls_table(case: Figures) -> str:
    contestants = case["contestants"]
    operations = sorted({name for each in contestants.values() for name in each["calls"]})
    return markdown_table(
        ["", *operations, "messages per receive", "write units"],
        [
            [
                name,
                *(f"{each['calls'].get(operation, 0):.2f}" for operation in operations),
                f"{each['receive_size']['median']:.1f}",
                f"{each['write_units']['median']:.1f}",
            ]
            for name, each in contestants.items()
        ],
    )


def submissions_table(submissions: Figures) -> str:
    ours, floor = submissions["cpu_ms"], submissions["floor_cpu_ms"]
    return markdown_table(
        ["", "API", "floor", "ratio"],
        [
            [
                "CPU ms per submission",
                _spread(ours),
                _spread(floor),
                f"{ours['median'] / floor['median']:.2f}",
            ]
        ],
    )


def load_table(load: Figures) -> str:
    return markdown_table(
        ["requests per second", "submit, p50", "submit, p99", "read, p50", "read, p99", "refused"],
        [
            [
                rate,
                *(
                    f"{_spread(each[request][percentile])} ms"
                    for request in ("submit", "read")
                    for percentile in ("p50_ms", "p99_ms")
                ),
                f"{each['refused']['median']:.1%}",
            ]
            for rate, each in load["requests_per_s"].items()
        ],
    )


def latency(figures: Figures) -> str:
    spread, waiting_ms = figures["latency_ms"], figures["waiting_ms"]
    return markdown_table(
        ["", ""],
        [
            ["submission to COMPLETED", f"{_spread(spread)} ms"],
            ["of which waits for AWS and for the source", f"{waiting_ms:.0f} ms"],
            ["ratio of the median", f"{spread['median'] / waiting_ms:.2f}"],
        ],
    )


def growth_table(growth: Figures) -> str:
    return markdown_table(
        [
            "waiting tasks",
            "processed",
            "tasks/s",
            "CPU ms per task",
            "messages per receive",
            "SQS calls per task",
        ],
        [
            [
                f"{int(backlog):,}",
                f"{each['tasks']:,}",
                _number(each["tasks_per_s"]),
                _number(each["cpu_ms"]),
                f"{each['receive_size']:.1f}",
                f"{each['sqs_calls']:.2f}",
            ]
            for backlog, each in growth["backlogs"].items()
        ],
    )


def memory_growth(growth: Figures) -> str:
    largest = max(growth["backlogs"].values(), key=lambda each: each["tasks"])
    tenth = largest["tasks"] // 10
    samples = largest["rss_mb_by_tasks"]
    early = next(rss_mb for tasks, rss_mb in samples if tasks >= tenth)
    return markdown_table(
        ["resident memory", "MB"],
        [
            [f"after {tenth:,} tasks", f"{early:.0f}"],
            [f"after {largest['tasks']:,} tasks", f"{samples[-1][1]:.0f}"],
        ],
    )


def _spread(spread: Figures) -> str:
    low, high = _number(spread["min"]), _number(spread["max"])
    return f"{_number(spread['median'])} ({low}–{high})"  # noqa: RUF001 - a range


def _number(value: float) -> str:
    """With three digits, or all digits before the decimal point."""
    if value >= 100:  # noqa: PLR2004
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def main() -> None:
    PAGE.write_text(with_figures(PAGE.read_text(), read_results()))


if __name__ == "__main__":
    main()
