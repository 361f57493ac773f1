"""Compare scaling policies in all scenarios: ``python -m simulation``.

Writes the figures to simulation/results/scaling.json and plots to docs/scaling/.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cdk.settings import Egress, Settings
from cost.prices import Prices
from simulation.figures import figures
from simulation.plots import plot
from simulation.policies import policies
from simulation.scenarios import Scenario, scenarios
from simulation.search import START, Experiment, best_reactive, constants, cooldown_figures
from simulation.system import ScalingPolicy, simulate

RESULTS = Path("simulation/results/scaling.json")
PLOTS = Path("docs/scaling")
PLOTTED = ("burst", "burst from zero", "steady 95 %", "day", "spikes", "slow source", "Spot loss")


def standard_settings() -> Settings:
    """The settings of profile ``standard``."""
    return Settings(
        profile="standard",
        environment="standard",
        egress=Egress.NAT,
        certificate_arn="arn:aws:acm:us-east-1:111122223333:certificate/example",
    )


def compared(
    experiment: Experiment,
    scenario: Scenario,
    chosen: Sequence[ScalingPolicy],
    plots: Path | None,
) -> Mapping[str, Any]:
    """The figures of every policy in one scenario."""
    runs = {
        policy.name: simulate(
            scenario,
            policy,
            settings=experiment.settings,
            promise_s=experiment.promise_s,
            seed=experiment.seed,
        )
        for policy in chosen
    }
    if plots is not None and scenario.name in PLOTTED:
        timelines = {name: run.timeline for name, run in runs.items()}
        plot(
            f"{scenario.name}: {scenario.description}", timelines, plots / plot_name(scenario.name)
        )
    return {
        "name": scenario.name,
        "description": scenario.description,
        "policies": {
            name: asdict(
                figures(
                    run,
                    promise_s=experiment.promise_s,
                    settings=experiment.settings,
                    prices=experiment.prices,
                )
            )
            for name, run in runs.items()
        },
    }


def plot_name(scenario: str) -> str:
    return scenario.replace(" %", "").replace(" ", "-").lower() + ".png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plots", type=Path, default=PLOTS)
    parser.add_argument(
        "--no-search", action="store_true", help="use the constants that the last search found"
    )
    options = parser.parse_args()

    settings = standard_settings()
    experiment = Experiment(settings, Prices.read(), settings.start_promise_s, options.seed)
    chosen = scenarios(settings)
    best = START if options.no_search else best_reactive(experiment, chosen)
    options.plots.mkdir(parents=True, exist_ok=True)
    outcomes = [
        compared(experiment, scenario, policies(best), options.plots) for scenario in chosen
    ]
    results = {
        "seed": options.seed,
        "promise_s": experiment.promise_s,
        "best_reactive": constants(best),
        "scale_out_cooldowns": cooldown_figures(experiment, chosen),
        "scenarios": outcomes,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
