"""Fails when Taskfleet has become slower, compared with the floor, than in the recorded results.

Both are measured in the same run, so the speed of the machine does not matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.figures import Figures

MAX_WORSE = 1.15
"""How much a ratio may exceed the recorded one."""
COMPUTING, WAITING = "small image", "small image, with latencies"

Ratios = Mapping[str, float]


def ratios(tasks: Figures, submissions: Figures) -> Ratios:
    """Taskfleet compared with the floor: the lower, the better."""
    computing, floor = (tasks[COMPUTING]["contestants"][name] for name in ("Taskfleet", "floor"))
    waiting = tasks[WAITING]["contestants"]["Taskfleet"]
    return {
        "CPU time of a task": _ratio(computing, floor, "cpu_ms"),
        "memory": _ratio(computing, floor, "pss_mb"),
        "AWS calls of a task": sum(waiting["calls"].values()) / sum(floor["calls"].values()),
        "write units of a task": _ratio(waiting, floor, "write_units"),
        "CPU time of a submission": submissions["cpu_ms"]["median"]
        / submissions["floor_cpu_ms"]["median"],
    }


def _ratio(figures: Figures, floor: Figures, name: str) -> float:
    ratio: float = figures[name]["median"] / floor[name]["median"]
    return ratio


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    measured: float
    recorded: float

    @property
    def is_worse(self) -> bool:
        return self.measured > self.recorded * MAX_WORSE


def verdicts(measure: Callable[[], Ratios], recorded: Ratios) -> list[Verdict]:
    """Compare each ratio with its recorded value. A ratio that is worse is measured once again.

    Other load on the machine rarely spoils both measurements.
    """
    measured = measure()
    if any(verdict.is_worse for verdict in _compare(measured, recorded)):
        again = measure()
        measured = {name: min(ratio, again[name]) for name, ratio in measured.items()}
    return _compare(measured, recorded)


def _compare(measured: Ratios, recorded: Ratios) -> list[Verdict]:
    return [Verdict(name, ratio, recorded[name]) for name, ratio in measured.items()]
