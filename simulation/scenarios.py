"""Loads and disturbances that a policy has to cope with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi

from cdk.settings import Settings
from cost.task_use import TaskUse
from simulation.fleet import SpotLoss

HOUR_S = 3_600
DAY_S = 24 * HOUR_S

NETWORK_S = 0.2
"""Download and AWS calls of a task. An assumption."""


@dataclass(frozen=True)
class Scenario:
    """Arrivals, processing times and disturbances."""

    name: str
    description: str
    duration_s: int
    task_cpu_s: float
    """CPU time of one task."""
    tasks_per_s: Callable[[int], float] = lambda _second: 0.0
    """Average arrivals in a second."""
    bursts: Mapping[int, int] = field(default_factory=dict)
    """Tasks that arrive at once, by second."""
    source_s: Callable[[int], float] = lambda _second: NETWORK_S
    """Time that a task waits for the network."""
    minimum: int = 1
    """Workers that always run."""
    delay_s: int = 0
    """By how much all metrics are late, if it is more than usual."""
    gap: range = range(0)
    """Seconds in which no metric is published."""
    spot_losses: Sequence[SpotLoss] = ()

    def processing_s(self, second: int) -> float:
        """How long a task occupies one of the worker's slots, if CPUs are free."""
        return self.source_s(second) + self.task_cpu_s


def scenarios(settings: Settings) -> Sequence[Scenario]:
    """All scenarios, for workers of the size and with the task time of the settings."""
    cpu_s = settings.task_cpu_s
    worker_per_s = settings.worker_cpu / 1_024 / cpu_s

    def steady(tasks_per_s: float) -> Callable[[int], float]:
        return lambda _second: tasks_per_s

    def load(percent: int) -> Scenario:
        return Scenario(
            f"steady {percent} %",
            f"{worker_per_s * percent / 100:.2f} tasks/s, {percent} % of what a worker completes",
            4 * HOUR_S,
            cpu_s,
            steady(worker_per_s * percent / 100),
        )

    burst = {HOUR_S // 2: 10_000}
    small_cpu_s = TaskUse.read().worker_cpu_ms / 1_000
    return (
        Scenario("burst", "10,000 tasks at once, one idle worker", 2 * HOUR_S, cpu_s, bursts=burst),
        Scenario(
            "burst from zero", "the same, no worker", 2 * HOUR_S, cpu_s, bursts=burst, minimum=0
        ),
        load(30),
        load(70),
        load(95),
        Scenario(
            "day",
            f"0 to {8 * worker_per_s:.0f} tasks/s and back in 24 hours, the work of 8 workers",
            DAY_S,
            cpu_s,
            lambda second: 4 * worker_per_s * (1 - cos(2 * pi * second / DAY_S)),
        ),
        Scenario(
            "spikes",
            "1 task/s, and 3,000 more within a minute, every half hour from minute 60",
            4 * HOUR_S,
            cpu_s,
            lambda second: 51 if second % (HOUR_S // 2) in range(60) and second >= HOUR_S else 1,
        ),
        Scenario(
            "slow source",
            "3 tasks/s; from minute 60 to 120 a download takes 10 s",
            3 * HOUR_S,
            cpu_s,
            steady(3),
            source_s=lambda second: 10 if HOUR_S <= second < 2 * HOUR_S else NETWORK_S,
        ),
        Scenario(
            "one an hour",
            "one task an hour, no worker",
            DAY_S,
            cpu_s,
            bursts={hour * HOUR_S + HOUR_S // 2: 1 for hour in range(24)},
            minimum=0,
        ),
        Scenario(
            "small images",
            f"200 tasks/s of {small_cpu_s * 1_000:.1f} ms CPU time each, the rest as configured",
            3 * HOUR_S,
            small_cpu_s,
            lambda second: 200 if HOUR_S <= second < 2 * HOUR_S else 5,
        ),
        Scenario(
            "late metrics",
            "the burst, with all metrics three minutes late",
            2 * HOUR_S,
            cpu_s,
            bursts=burst,
            delay_s=180,
        ),
        Scenario(
            "missing metrics",
            "the burst, with no metrics for ten minutes from a minute before it",
            2 * HOUR_S,
            cpu_s,
            bursts=burst,
            gap=range(HOUR_S // 2 - 60, HOUR_S // 2 + 540),
        ),
        Scenario(
            "Spot loss",
            f"{6 * worker_per_s:.0f} tasks/s after half an hour; at minute 90 Spot takes back half "
            "of its containers for 15 minutes",
            3 * HOUR_S,
            cpu_s,
            lambda second: 6 * worker_per_s * min(1, second / (HOUR_S // 2)),
            spot_losses=(SpotLoss(at_s=90 * 60, share=0.5, outage_s=15 * 60),),
        ),
    )
