"""Plots of the backlog and the workers over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulation.system import Moment

COLORS = ("#1d4ed8", "#ea580c", "#16a34a", "#9333ea", "#64748b", "#dc2626")
MINUTE_S, HOUR_S = 60, 3_600
LONG_S = 6 * HOUR_S
"""Plots of longer runs count hours."""


def plot(scenario: str, timelines: Mapping[str, Sequence[Moment]], path: Path) -> None:
    """Draw the backlog and the running workers of each policy into a PNG file."""
    figure = Figure(figsize=(9, 5.5))
    backlog, workers = figure.subplots(2, 1, sharex=True)
    for (name, moments), color in zip(timelines.items(), COLORS, strict=True):
        unit_s = HOUR_S if moments[-1].at_s > LONG_S else MINUTE_S
        times = [moment.at_s / unit_s for moment in moments]
        backlog.plot(times, [moment.backlog for moment in moments], color=color, linewidth=1.4)
        workers.plot(
            times,
            [moment.running for moment in moments],
            color=color,
            label=name,
            linewidth=1.4,
            drawstyle="steps-post",
        )
        workers.set_xlabel("hours" if unit_s == HOUR_S else "minutes")
    backlog.set_title(scenario, loc="left")
    backlog.set_ylabel("tasks waiting or in flight")
    workers.set_ylabel("running workers")
    for axes in (backlog, workers):
        _plain(axes)
    figure.legend(loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=80, metadata={"Software": None})


def _plain(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, color="#e2e8f0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
