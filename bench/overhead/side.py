"""One of two programs that are compared."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.overhead.running import Running
from bench.overhead.stub_aws import StubAws


@dataclass
class Side:
    """A program with an AWS of its own, so that its calls are known from the other's."""

    aws: StubAws
    program: Running
    calls: Counter[str] = field(default_factory=Counter)
    """Made by the work that was last measured, by operation."""

    def cost_ms(self, units: int, work: Callable[[], None]) -> float:
        """CPU milliseconds per unit. `work` returns when the program has done so many units."""
        calls, cpu_s = self.aws.calls.copy(), self.program.cpu_s()
        work()
        self.calls = self.aws.calls - calls
        return (self.program.cpu_s() - cpu_s) / units * 1000
