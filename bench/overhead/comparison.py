"""CPU time of a program compared with its baseline."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """CPU milliseconds per unit of work in each round, and the AWS calls of the last round."""

    program_ms: list[float]
    baseline_ms: list[float]
    program_calls: Counter[str]
    baseline_calls: Counter[str]
    units_per_round: int

    @property
    def ratio(self) -> float:
        """Median of the ratios of the rounds: both halves of a round ran under the same load."""
        pairs = zip(self.program_ms, self.baseline_ms, strict=True)
        return median(program / baseline for program, baseline in pairs)

    def figures(self) -> dict[str, object]:
        return {
            "program_ms": round(median(self.program_ms), 2),
            "baseline_ms": round(median(self.baseline_ms), 2),
            "ratio": round(self.ratio, 2),
            "units_per_round": self.units_per_round,
            "rounds": [
                {"program_ms": round(program, 2), "baseline_ms": round(baseline, 2)}
                for program, baseline in zip(self.program_ms, self.baseline_ms, strict=True)
            ],
            "program_calls_per_unit": self._per_unit(self.program_calls),
            "baseline_calls_per_unit": self._per_unit(self.baseline_calls),
        }

    def _per_unit(self, calls: Counter[str]) -> dict[str, float]:
        return {
            name: round(count / self.units_per_round, 3) for name, count in sorted(calls.items())
        }


def measure_alternately(
    program: Callable[[], float], baseline: Callable[[], float], *, rounds: int
) -> tuple[list[float], list[float]]:
    """Measure both in turns, so that other load on the machine affects both.

    The first round is a warm-up and does not count.
    """
    measured = [(program(), baseline()) for _ in range(1 + rounds)][1:]
    return [first for first, _ in measured], [second for _, second in measured]
