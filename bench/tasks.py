"""Throughput, CPU time, memory and AWS calls per task, of Taskfleet and others.

The contestants run in turns, so that other load on the machine affects all of them. Each has its
own instance of the same stub of AWS. While one is measured, the others wait in a long poll.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.contestants import (
    CORES,
    FLOOR,
    FLOOR_IN_THREADS,
    PEERS,
    TASKFLEET,
    TASKFLEET_ON_ONE_CORE,
    Contestant,
)
from bench.figures import Figures, spreads
from bench.images import LARGE, SMALL, TINY
from bench.program import RunningProgram, running
from bench.rows import row_template
from bench.stub_aws.client import State, StubAws
from bench.stub_aws.service import Latencies

AWS_LATENCIES = Latencies(dynamodb=0.006, sqs=0.008, s3=0.035, source=0.120)
"""Of a worker in the Region of its table, queue and bucket, and of a source on the internet."""
NO_LATENCIES = Latencies()

SQS_CALLS = (
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
)
"""Of a consumer. The peers also ask for the URL of their queue, once."""

SAMPLE_S = 0.25
WARM_UP_SHARE = 0.2
"""Size of the first round, which does not count, compared with the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`tasks` tasks per round with the same image."""

    name: str
    image: str
    latencies: Latencies
    contestants: Sequence[Contestant]
    tasks: int

    @property
    def warm_up_tasks(self) -> int:
        return round(self.tasks * WARM_UP_SHARE)


def _waiting(name: str, image: str, tasks: int, *others: Contestant) -> Case:
    contestants = (TASKFLEET, *others, *PEERS, FLOOR_IN_THREADS)
    return Case(
        name=f"{name}, with latencies",
        image=image,
        latencies=AWS_LATENCIES,
        contestants=contestants,
        tasks=tasks,
    )


def _computing(name: str, image: str, tasks: int) -> Case:
    return Case(
        name=name,
        image=image,
        latencies=NO_LATENCIES,
        contestants=(TASKFLEET, *PEERS, FLOOR),
        tasks=tasks,
    )


CASES = (
    _waiting("small image", SMALL, 300, TASKFLEET_ON_ONE_CORE),
    _waiting("large image", LARGE, 100),
    _waiting("single pixel", TINY, 300),
    _computing("small image", SMALL, 500),
    _computing("large image", LARGE, 100),
    _computing("single pixel", TINY, 600),
)


class Entrant:
    """A running contestant and its stub."""

    def __init__(self, contestant: Contestant, aws: StubAws, program: RunningProgram) -> None:
        self.contestant = contestant
        self.aws = aws
        self.program = program
        self._next_task = 0

    def run(self, image: str, tasks: int) -> Figures:
        """Process the next `tasks` tasks and measure it."""
        self.put_rows(image, tasks)
        before = self.aws.state()
        completed, deleted = before.completed + tasks, before.deleted + tasks
        return self.measure(
            lambda: self.aws.release(tasks),
            lambda state: state.completed >= completed and state.deleted >= deleted,
        )

    def put_rows(self, image: str, tasks: int) -> int:
        """Write the rows of the next `tasks` tasks. Return the number of the first one."""
        first, self._next_task = self._next_task, self._next_task + tasks
        self.aws.put_rows(row_template(self.aws.image_url(image)), first=first, count=tasks)
        return first

    def measure(
        self,
        start: Callable[[], None],
        is_done: Callable[[State], bool],
        *,
        on_sample: Callable[[State, float], None] = lambda _, __: None,
    ) -> Figures:
        """Measure from `start` until the state of the stub `is_done`.

        `on_sample` gets the state and the resident memory in MB, a few times per second.
        """
        before, cpu_s, busy_s = self.aws.state(), self.program.cpu_s(), _busy_cpu_s()
        own_cpu_s, started = time.process_time(), time.monotonic()
        start()
        peak_rss_mb = self._wait_until(is_done, on_sample)
        elapsed_s = time.monotonic() - started
        used_s = self.program.cpu_s() - cpu_s
        done = self.aws.state() - before
        benchmark_s = done.cpu_s + time.process_time() - own_cpu_s
        *_, last_completion = self.aws.completions(since=before.completed)
        tasks, stub_cores = done.completed, done.cpu_s / elapsed_s
        rate = tasks / (last_completion - started)
        return {
            "tasks_per_s": rate,
            "tasks_per_s_per_core": rate / self._cores_beside(stub_cores),
            "cpu_ms": used_s / tasks * 1_000,
            "peak_rss_mb": peak_rss_mb,
            "pss_mb": self.program.pss_mb(),
            "receive_size": done.received / max(done.receives, 1),
            "sqs_calls": sum(map(done.calls.__getitem__, SQS_CALLS)) / tasks,
            "write_units": done.write_units / tasks,
            "redelivered": done.redelivered,
            "calls": {name: count / tasks for name, count in sorted(done.calls.items())},
            "utilization": used_s / elapsed_s / self._cores_beside(stub_cores),
            "stub_cores": stub_cores,
            "other_cores": max(0, _busy_cpu_s() - busy_s - used_s - benchmark_s) / elapsed_s,
        }

    def _cores_beside(self, stub_cores: float) -> float:
        """How many cores the program has. The stub runs on the same ones, or beside one core."""
        return 1 if self.contestant.pinned else CORES - stub_cores

    def _wait_until(
        self, is_done: Callable[[State], bool], on_sample: Callable[[State, float], None]
    ) -> float:
        """Return the peak of the resident memory in MB."""
        peak_mb = next_sample = 0.0

        def check() -> bool:
            nonlocal peak_mb, next_sample
            state = self.aws.state()
            if time.monotonic() >= next_sample:
                rss_mb = self.program.rss_mb()
                on_sample(state, rss_mb)
                peak_mb, next_sample = max(peak_mb, rss_mb), time.monotonic() + SAMPLE_S
            return is_done(state)

        self.program.wait_until(check, "complete its tasks")
        return peak_mb


def _busy_cpu_s() -> float:
    """CPU seconds that the whole machine has been busy."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


@contextmanager
def entered(
    cases: Sequence[Case], *, rounds: int, images: Path, scratch: Path
) -> Iterator[Mapping[str, Entrant]]:
    """Run the contestants of all cases inside the ``with`` block, by name.

    Their queues hold back the messages of all tasks.
    """
    contestants = {each.name: each for case in cases for each in case.contestants}
    entrants = {}
    with ExitStack() as stack:
        for number, (name, contestant) in enumerate(contestants.items()):
            log = scratch / f"{number}.log"
            aws = stack.enter_context(StubAws(images=images, log=log.with_suffix(".aws.log")))
            aws.hold_messages()
            contestant.enqueue(
                aws,
                sum(
                    case.warm_up_tasks + rounds * case.tasks
                    for case in cases
                    if contestant in case.contestants
                ),
            )
            program = stack.enter_context(running(contestant.program(aws, scratch), log=log))
            entrants[name] = Entrant(contestant, aws, program)
        yield entrants


def measure(
    cases: Sequence[Case],
    *,
    rounds: int,
    images: Path,
    scratch: Path,
    report: Callable[[str], None],
) -> Figures:
    """The figures of each case by contestant."""
    with entered(cases, rounds=rounds, images=images, scratch=scratch) as entrants:
        return {case.name: _measure_case(case, entrants, rounds, report) for case in cases}


def _measure_case(
    case: Case, entrants: Mapping[str, Entrant], rounds: int, report: Callable[[str], None]
) -> Figures:
    running = [entrants[contestant.name] for contestant in case.contestants]
    for entrant in running:
        entrant.aws.delay(case.latencies)
        entrant.run(case.image, case.warm_up_tasks)
    measured: dict[str, list[Figures]] = {entrant.contestant.name: [] for entrant in running}
    for number in range(rounds):
        report(f"{case.name}, round {number + 1} of {rounds}")
        for entrant in running:
            measured[entrant.contestant.name].append(entrant.run(case.image, case.tasks))
    return {
        "tasks_per_round": case.tasks,
        "contestants": {name: summary(of_rounds) for name, of_rounds in measured.items()},
    }


def summary(rounds: Sequence[Figures]) -> Figures:
    """The spread of each figure, and the calls of the last round."""
    numbers = [{name: each[name] for name in each if name != "calls"} for each in rounds]
    return {
        **spreads(numbers),
        "calls": {name: round(count, 3) for name, count in rounds[-1]["calls"].items()},
    }
