"""Draw the results: ``.local/plots/bin/python -m bench.plots``. matplotlib has its own environment.

The figures come from the JSON files in ``bench/results``, and the images go there, too.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"

OURS, OTHERS, FLOOR = "#1b6ca8", "#b9c2cc", "#e3c27a"
SUBMIT, READ = "#1b6ca8", "#d1802f"

mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "figure.dpi": 150,
    }
)

Results = dict[str, Any]


def read(name: str) -> Results:
    results: Results = json.loads((RESULTS / f"{name}.json").read_text())[name]
    return results


def save(figure: Figure, name: str) -> None:
    figure.savefig(RESULTS / f"{name}.png")
    plt.close(figure)


def draw_tasks(tasks: Results) -> None:
    """Bars of each contestant in each case, with the range of the rounds."""
    for name, key, unit in (
        ("throughput", "tasks_per_s", "tasks per second"),
        ("cpu", "cpu_ms", "CPU ms per task"),
        ("memory", "peak_rss_mb", "peak resident memory, MB"),
    ):
        figure, axes = plt.subplots(2, 3, figsize=(12, 6), layout="constrained")
        for axis, (title, case) in zip(axes.flat, tasks["cases"].items(), strict=True):
            _bars(axis, title, {each: f[key] for each, f in case["contestants"].items()})
        figure.supxlabel(f"{unit} (median, minimum and maximum of {tasks['rounds']} rounds)")
        save(figure, name)


def _bars(axis: Axes, title: str, contestants: Results) -> None:
    names = list(reversed(contestants))
    medians = [contestants[name]["median"] for name in names]
    below = [contestants[name]["median"] - contestants[name]["min"] for name in names]
    above = [contestants[name]["max"] - contestants[name]["median"] for name in names]
    bars = axis.barh(
        names,
        medians,
        xerr=[below, above],
        color=[_color(name) for name in names],
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axis.bar_label(bars, fmt="{:.3g}", padding=6, fontsize=8)
    axis.set_xlim(0, 1.25 * max(contestants[name]["max"] for name in names))
    axis.set_title(title, loc="left")


def _color(name: str) -> str:
    if name.startswith("Taskfleet"):
        return OURS
    return FLOOR if name.startswith("floor") else OTHERS


def draw_load(load: Results) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    rates = [int(rate) for rate in load["requests_per_s"]]
    for axis, percentile in zip(axes, ("p50_ms", "p99_ms"), strict=True):
        for request, color in (("submit", SUBMIT), ("read", READ)):
            spreads = [each[request][percentile] for each in load["requests_per_s"].values()]
            axis.plot(rates, [each["median"] for each in spreads], "o-", color=color, label=request)
            axis.fill_between(
                rates,
                [each["min"] for each in spreads],
                [each["max"] for each in spreads],
                color=color,
                alpha=0.2,
            )
        axis.set_title(f"{percentile.removesuffix('_ms')}, ms", loc="left")
        axis.set_xlabel("requests per second")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
    save(figure, "load")


def draw_growth(growth: Results) -> None:
    figure, (by_backlog, memory) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    backlogs = {int(backlog): each for backlog, each in growth["backlogs"].items()}
    for name, color, label in (
        ("tasks_per_s", SUBMIT, "tasks per second"),
        ("cpu_ms", READ, "CPU ms per task"),
    ):
        values = [each[name] for each in backlogs.values()]
        by_backlog.plot(list(backlogs), values, "o-", color=color, label=label)
    by_backlog.set_xscale("log")
    by_backlog.set_ylim(bottom=0)
    by_backlog.set_xlabel("waiting tasks")
    by_backlog.set_title("Throughput and CPU time", loc="left")
    by_backlog.legend(frameon=False)
    samples = backlogs[max(backlogs)]["rss_mb_by_tasks"]
    memory.plot([tasks for tasks, _ in samples], [rss_mb for _, rss_mb in samples], color=OURS)
    memory.set_ylim(bottom=0)
    memory.set_xlabel("processed tasks")
    memory.set_title("Resident memory, MB", loc="left")
    save(figure, "growth")


if __name__ == "__main__":
    draw_tasks(read("tasks"))
    draw_load(read("load"))
    draw_growth(read("growth"))
