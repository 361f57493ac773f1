"""A program beside its floor, in turns, so that what else the machine does hits both."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """CPU milliseconds per unit of work, in each round, and the calls of the last one."""

    program_ms: list[float]
    floor_ms: list[float]
    program_calls: Counter[str]
    floor_calls: Counter[str]
    units: int
    """In each round."""

    @property
    def ratio(self) -> float:
        """The median of the rounds' own: the two halves of a round met the same machine."""
        pairs = zip(self.program_ms, self.floor_ms, strict=True)
        return median(program / floor for program, floor in pairs)

    def figures(self) -> dict[str, object]:
        return {
            "program_ms": round(median(self.program_ms), 2),
            "floor_ms": round(median(self.floor_ms), 2),
            "ratio": round(self.ratio, 2),
            "units_per_round": self.units,
            "rounds": [
                {"program_ms": round(program, 2), "floor_ms": round(floor, 2)}
                for program, floor in zip(self.program_ms, self.floor_ms, strict=True)
            ],
            "program_calls_per_unit": self._per_unit(self.program_calls),
            "floor_calls_per_unit": self._per_unit(self.floor_calls),
        }

    def _per_unit(self, calls: Counter[str]) -> dict[str, float]:
        return {name: round(count / self.units, 3) for name, count in sorted(calls.items())}


def take_turns(
    program: Callable[[], float], floor: Callable[[], float], *, rounds: int
) -> tuple[list[float], list[float]]:
    """What each gives in `rounds` turns, after a first turn that only warms them up."""
    turns = [(program(), floor()) for _ in range(1 + rounds)][1:]
    return [first for first, _ in turns], [second for _, second in turns]
