"""Clocks that stand still until a test moves them."""

from dataclasses import dataclass


@dataclass
class MonotonicClock:
    """Seconds, as ``time.monotonic`` counts them."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
