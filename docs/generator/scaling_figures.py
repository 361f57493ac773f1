"""Write the figures of the last ``make simulate`` into docs/scaling.md.

``python -m docs.generator.scaling_figures``
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.generator.markdown import markdown_table
from docs.generator.sections import fill_sections

PAGE = Path("docs/scaling.md")
RESULTS = Path("simulation/results/scaling.json")
OURS, BEST = "Taskfleet", "best reactive"
KEPT_SHARE = 0.999


def with_figures(page: str, results: Mapping[str, Any]) -> str:
    """Replace the tables of figures in `page`."""
    sections = {
        "promise": _promise_table(results),
        "cost of scaling": _cost_table(results),
        "oscillation": _turns_table(results),
        "waits": _waits_table(results),
        "cooldowns": _cooldown_table(results),
        "constants": _constants(results),
        "goal": _goal_table(results),
    }
    return fill_sections(page, sections)


def _policies(results: Mapping[str, Any]) -> Sequence[str]:
    return list(results["scenarios"][0]["policies"])


def _promise_table(results: Mapping[str, Any]) -> str:
    return _by_policy(results, lambda figures: _in_time(figures["in_time"]))


def _in_time(share: float) -> str:
    return "kept" if share >= KEPT_SHARE else f"{share:.2%}"


def _cost_table(results: Mapping[str, Any]) -> str:
    return _by_policy(
        results, lambda figures: f"{figures['usd']:.2f} ({figures['container_hours']:.1f} h)"
    )


def _turns_table(results: Mapping[str, Any]) -> str:
    return _by_policy(results, lambda figures: str(figures["turns"]))


def _by_policy(results: Mapping[str, Any], cell: Callable[[Mapping[str, Any]], str]) -> str:
    names = _policies(results)
    rows = [
        [scenario["name"], *(cell(scenario["policies"][name]) for name in names)]
        for scenario in results["scenarios"]
    ]
    return markdown_table(["scenario", *names], rows)


def _waits_table(results: Mapping[str, Any]) -> str:
    rows = [
        [
            scenario["name"],
            scenario["description"],
            *(
                f"{figures['p50_s']} / {figures['p95_s']} / {figures['p99_s']}"
                for figures in (scenario["policies"][OURS], scenario["policies"][BEST])
            ),
        ]
        for scenario in results["scenarios"]
    ]
    return markdown_table(["scenario", "load", f"{OURS}, s", f"{BEST}, s"], rows)


def _goal_table(results: Mapping[str, Any]) -> str:
    """The scenarios in which our policy falls behind the best one, and by how much."""
    rows = []
    for scenario in results["scenarios"]:
        ours, best = scenario["policies"][OURS], scenario["policies"][BEST]
        missed = best["in_time"] >= KEPT_SHARE > ours["in_time"]
        rows.append(
            [scenario["name"], "no" if missed else "yes", f"{ours['usd'] / best['usd']:.2f}"]
        )
    return markdown_table(["scenario", "promise kept where the best keeps it", "cost / best"], rows)


def _cooldown_table(results: Mapping[str, Any]) -> str:
    rows = [
        [f"{row['cooldown_s']} s", str(row["kept"]), f"{row['usd']:.2f}", str(row["turns"])]
        for row in results["scale_out_cooldowns"]
    ]
    return markdown_table(
        ["scale-out cooldown", "scenarios kept", "USD", "changes of direction"], rows
    )


def _constants(results: Mapping[str, Any]) -> str:
    best = results["best_reactive"]
    return (
        f"Seed {results['seed']}, start promise {results['promise_s']} s. Constants of the best "
        f"reactive policy, from its last\nsearch: it drains a backlog within "
        f"{best['drain_share']:.0%} of the promise, plans with a utilization of\n"
        f"{best['utilization']:.0%}, and keeps workers for {best['hold_s']} s after they were "
        "needed."
    )


def main() -> None:
    PAGE.write_text(with_figures(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
