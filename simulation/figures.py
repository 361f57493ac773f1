"""What a run shows: waits, the promise, container hours, cost and oscillation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cdk.settings import Settings
from cost.prices import Prices
from simulation.system import Run

KEPT_SHARE = 0.999
"""The promise counts as kept if at least this share of the tasks starts in time."""


@dataclass(frozen=True)
class Figures:
    """The figures of one run."""

    p50_s: int
    p95_s: int
    p99_s: int
    max_s: int
    first_s: int
    """The shortest wait: in a scenario from zero, the time until the first worker starts a task."""
    in_time: float
    """Share of the tasks that started within the promise."""
    container_hours: float
    usd: float
    turns: int
    """How often the desired count changed direction."""
    peak_workers: int

    @property
    def kept(self) -> bool:
        return self.in_time >= KEPT_SHARE


def figures(run: Run, *, promise_s: int, settings: Settings, prices: Prices) -> Figures:
    """Sum up a run."""
    total = sum(run.waits.values())
    return Figures(
        p50_s=_percentile(run.waits, 0.50),
        p95_s=_percentile(run.waits, 0.95),
        p99_s=_percentile(run.waits, 0.99),
        max_s=max(run.waits),
        first_s=min(run.waits),
        in_time=round(sum(n for wait, n in run.waits.items() if wait <= promise_s) / total, 5),
        container_hours=round(sum(run.charged_s.values()) / 3_600, 2),
        usd=round(_usd(run, settings, prices), 2),
        turns=_turns(run.desired_changes),
        peak_workers=max(moment.desired for moment in run.timeline),
    )


def _percentile(waits: Mapping[int, int], share: float) -> int:
    """The shortest wait that at least `share` of the tasks did not exceed."""
    left = share * sum(waits.values())
    for wait in sorted(waits):
        left -= waits[wait]
        if left <= 0:
            return wait
    raise ValueError("no task arrived")


def _usd(run: Run, settings: Settings, prices: Prices) -> float:
    architecture = settings.cpu_architecture
    hour = settings.worker_cpu / 1_024 * prices.usd(
        "fargate_vcpu_hour", architecture
    ) + settings.worker_memory_mib / 1_024 * prices.usd("fargate_gb_hour", architecture)
    spot = run.charged_s["spot"] * prices.usd("fargate_spot_share")
    return hour * (run.charged_s["on demand"] + spot) / 3_600


def _turns(changes: Sequence[int]) -> int:
    return sum((first > 0) != (second > 0) for first, second in pairwise(changes))


def kept(results: Iterable[Figures]) -> int:
    """In how many runs the promise was kept."""
    return sum(result.kept for result in results)
