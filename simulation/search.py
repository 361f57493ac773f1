"""The search for constants: of the best reactive policy, and of ours."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cdk.settings import Settings
from cost.prices import Prices
from simulation.figures import Figures, figures, kept
from simulation.policies import Reactive, policies
from simulation.scenarios import DAY_S, Scenario
from simulation.system import ScalingPolicy, simulate

GRID: Mapping[str, Sequence[float]] = {
    "drain_share": (0.3, 0.5, 0.7, 0.8),
    "utilization": (0.8, 0.9, 1.0),
    "hold_s": (120, 300, 600, 1_200),
}
"""The constants that are tried."""

START = Reactive(drain_share=0.8, utilization=1.0, hold_s=120)
"""Where the search begins: what it found last."""

COOLDOWNS_S = (60, 120, 240)
"""Scale-out cooldowns of our policy that are compared."""


@dataclass(frozen=True)
class Experiment:
    """What all runs share."""

    settings: Settings
    prices: Prices
    promise_s: int
    seed: int

    def run(self, scenario: Scenario, policy: ScalingPolicy) -> Figures:
        run = simulate(
            scenario, policy, settings=self.settings, promise_s=self.promise_s, seed=self.seed
        )
        return figures(run, promise_s=self.promise_s, settings=self.settings, prices=self.prices)


def best_reactive(experiment: Experiment, scenarios: Sequence[Scenario]) -> Reactive:
    """The constants that keep the promise in most scenarios, at the lowest cost.

    Changes one constant at a time until no change is an improvement.
    """
    scores: dict[Reactive, tuple[int, float]] = {}

    def score(candidate: Reactive) -> tuple[int, float]:
        if candidate not in scores:
            policy = ScalingPolicy("candidate", candidate.build, leaves_zero=True)
            results = [experiment.run(scenario, policy) for scenario in scenarios]
            scores[candidate] = (-kept(results), sum(result.usd for result in results))
        return scores[candidate]

    best, improved = START, True
    while improved:
        before = best
        for name, values in GRID.items():
            changes: Sequence[Mapping[str, Any]] = [{name: value} for value in values]
            best = min((replace(best, **change) for change in changes), key=score)
        improved = score(best) < score(before)
    return best


def cooldown_figures(
    experiment: Experiment, scenarios: Sequence[Scenario]
) -> Sequence[Mapping[str, Any]]:
    """What our policy costs and how it oscillates with several scale-out cooldowns.

    Leaves out scenarios of a day, which take most of the time.
    """
    shorter = [scenario for scenario in scenarios if scenario.duration_s < DAY_S]
    ours = policies(START)[0]
    rows = []
    for cooldown_s in COOLDOWNS_S:
        settings = experiment.settings.model_copy(
            update={"worker_scale_out_cooldown_s": cooldown_s}
        )
        results = [
            replace(experiment, settings=settings).run(scenario, ours) for scenario in shorter
        ]
        rows.append(
            {
                "cooldown_s": cooldown_s,
                "kept": kept(results),
                "usd": round(sum(result.usd for result in results), 2),
                "turns": sum(result.turns for result in results),
            }
        )
    return rows


def constants(reactive: Reactive) -> dict[str, float]:
    """The constants as they are stored with the results."""
    return asdict(reactive)
