"""A program whose CPU time and AWS calls are measured."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.overhead.running_program import RunningProgram
from bench.overhead.stub_aws import StubAws


@dataclass
class MeasuredProgram:
    """The program is the only client of its stub, so the stub counts exactly its calls.

    `calls` are the calls of the last measured work, by operation.
    """

    aws: StubAws
    program: RunningProgram
    calls: Counter[str] = field(default_factory=Counter)

    def cpu_ms_per_unit(self, units: int, work: Callable[[], None]) -> float:
        """CPU milliseconds per unit. `work` returns when the program has done `units` units."""
        calls, cpu_s = self.aws.calls.copy(), self.program.cpu_s()
        work()
        self.calls = self.aws.calls - calls
        return (self.program.cpu_s() - cpu_s) / units * 1000
