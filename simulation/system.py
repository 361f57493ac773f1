"""One run of the model: a scenario under a policy, in steps of one second."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Protocol

import numpy as np
import simpy

from cdk.settings import Settings
from simulation.auto_scaling import ScalableTarget
from simulation.cloudwatch import Metric
from simulation.fleet import Fleet, SpotLoss
from simulation.scenarios import Scenario
from simulation.task_queue import Queue

SCALING_INTERVAL_S = 10
"""How often high-resolution alarms are evaluated. Those with a period of a minute are evaluated
once a minute.

Source: "Using Amazon CloudWatch alarms", Amazon CloudWatch User Guide."""

STANDARD_S, HIGH_RESOLUTION_S = 60, 10
"""Periods of AWS's own metrics and of high-resolution ones."""

STANDARD_DELAY_S = (60, 90)
"""Between the end of a minute and the arrival of AWS's metrics for it. An assumption; AWS names no
number, and the counts of a queue are themselves late by up to a minute.

Source: "Configuring queue parameters", Amazon SQS Developer Guide."""

OWN_DELAY_S = (5, 20)
"""The same for metrics that the services log. An assumption: logs are delivered in batches of up to
5 s, and CloudWatch extracts metrics as they arrive.

Source: "PutLogEvents", Amazon CloudWatch Logs API Reference, and "Embedding metrics within logs",
Amazon CloudWatch User Guide."""

TIMELINE_S = 30

DRAIN_LIMIT_S = 120


@dataclass
class Metrics:
    """What policies can read. AWS publishes the first group, our services the second."""

    visible: Metric = field(default_factory=lambda: Metric(STANDARD_S))
    in_flight: Metric = field(default_factory=lambda: Metric(STANDARD_S))
    running: Metric = field(default_factory=lambda: Metric(STANDARD_S))
    """Containers; no data at zero, as in Container Insights."""
    cpu_percent: Metric = field(default_factory=lambda: Metric(STANDARD_S))

    backlog: Metric = field(default_factory=lambda: Metric(HIGH_RESOLUTION_S))
    """Visible and in flight."""
    arrivals_per_s: Metric = field(default_factory=lambda: Metric(HIGH_RESOLUTION_S))
    """Average of the last minute."""
    tasks_per_worker_s: Metric = field(default_factory=lambda: Metric(HIGH_RESOLUTION_S))
    """What a busy worker completes per second."""


class Controller(Protocol):
    """Changes the desired count of a target."""

    def act(self, now_s: int) -> None: ...


@dataclass(frozen=True)
class Setup:
    """What a policy is built from."""

    target: ScalableTarget
    metrics: Metrics
    settings: Settings
    promise_s: int


@dataclass(frozen=True)
class ScalingPolicy:
    """A named way to scale the workers."""

    name: str
    build: Callable[[Setup], Controller]
    leaves_zero: bool = False
    """Whether the policy can start the first worker. If not, one worker always runs."""


@dataclass(frozen=True)
class Moment:
    """The state of the system at one time."""

    at_s: int
    backlog: int
    desired: int
    running: int


@dataclass(frozen=True)
class Run:
    """What happened in one run."""

    waits: dict[int, int]
    """How many tasks waited for how many seconds until they started."""
    never_started: int
    charged_s: dict[str, float]
    """Seconds of on-demand and of Spot containers."""
    timeline: Sequence[Moment]
    desired_changes: Sequence[int]
    """Each change of the desired count."""


def simulate(
    scenario: Scenario,
    policy: ScalingPolicy,
    *,
    settings: Settings,
    promise_s: int,
    seed: int,
) -> Run:
    """Run `scenario` under `policy`. The same seed gives the same arrivals to every policy."""
    return _System(scenario, policy, settings=settings, promise_s=promise_s, seed=seed).run()


class _System:
    def __init__(
        self,
        scenario: Scenario,
        policy: ScalingPolicy,
        *,
        settings: Settings,
        promise_s: int,
        seed: int,
    ) -> None:
        self._scenario = scenario
        self._settings = settings
        self._delays = np.random.default_rng([seed, 2])
        self._arrivals = _arrivals(scenario, seed)
        self._environment = simpy.Environment()
        self._queue = Queue()
        self._metrics = Metrics()
        self._fleet = Fleet(
            self._environment,
            np.random.default_rng([seed, 3]),
            on_demand_base=settings.worker_on_demand_base,
            spot_share=settings.worker_spot_percent / 100,
            drain_s=min(DRAIN_LIMIT_S, ceil(scenario.processing_s(0))),
        )
        minimum = scenario.minimum if policy.leaves_zero else max(scenario.minimum, 1)
        self._target = ScalableTarget(
            minimum, settings.worker_max_tasks, running=lambda: self._fleet.running
        )
        self._controller = policy.build(Setup(self._target, self._metrics, settings, promise_s))
        self._credit = 0.0
        self._used = 0.0
        self._available = 0.0
        self._timeline: list[Moment] = []
        self._changes: list[int] = []

    def run(self) -> Run:
        environment = self._environment
        self._fleet.begin_with(self._target.minimum)
        environment.process(self._every(1, self._work))
        environment.process(self._every(STANDARD_S, self._publish_standard))
        environment.process(self._every(HIGH_RESOLUTION_S, self._publish_own))
        environment.process(self._every(SCALING_INTERVAL_S, self._scale))
        environment.process(self._every(TIMELINE_S, self._record))
        for loss in self._scenario.spot_losses:
            environment.process(self._lose_spot(loss))
        end_s = self._scenario.duration_s
        environment.run(until=end_s)
        never_started = self._queue.close(now_s=end_s)
        self._fleet.close()
        environment.run(until=end_s + DRAIN_LIMIT_S + 1)
        return Run(
            dict(self._queue.waits),
            never_started,
            dict(self._fleet.charged_s),
            self._timeline,
            self._changes,
        )

    def _every(
        self, interval_s: int, action: Callable[[int], None]
    ) -> Generator[simpy.Event, Any, None]:
        while self._environment.now < self._scenario.duration_s:
            action(int(self._environment.now))
            yield self._environment.timeout(interval_s)

    def _lose_spot(self, loss: SpotLoss) -> Generator[simpy.Event, Any, None]:
        yield self._environment.timeout(loss.at_s)
        self._fleet.lose_spot(loss)

    def _work(self, now_s: int) -> None:
        """Send and start the tasks of this second.

        A worker starts as many tasks as its CPUs or its slots allow, whichever is less.
        """
        self._queue.delete_processed(now_s=now_s)
        self._queue.send(int(self._arrivals[now_s]), now_s=now_s)
        capacity = self._fleet.running * self._tasks_per_worker_s(now_s)
        self._credit = min(self._credit, capacity) + capacity
        started = self._queue.receive(
            int(self._credit), now_s=now_s, processed_in_s=self._scenario.processing_s(now_s)
        )
        self._credit -= started
        self._used += started * self._scenario.task_cpu_s
        self._available += self._fleet.running * self._vcpus

    @property
    def _vcpus(self) -> float:
        return self._settings.worker_cpu / 1_024

    @property
    def _slots(self) -> int:
        """Tasks that a worker processes at the same time."""
        return self._settings.worker_consumers * self._settings.worker_concurrency

    def _tasks_per_worker_s(self, now_s: int) -> float:
        return min(
            self._vcpus / self._scenario.task_cpu_s,
            self._slots / self._scenario.processing_s(now_s),
        )

    def _publish_standard(self, now_s: int) -> None:
        start_s = now_s - STANDARD_S
        metrics, running = self._metrics, self._fleet.running
        values: dict[Metric, float] = {
            metrics.visible: self._queue.visible,
            metrics.in_flight: self._queue.in_flight,
        }
        if running:
            values[metrics.running] = running
        if self._available:
            values[metrics.cpu_percent] = min(100.0, 100 * self._used / self._available)
        self._used = self._available = 0.0
        self._publish(values, start_s, STANDARD_DELAY_S)

    def _publish_own(self, now_s: int) -> None:
        recent = self._arrivals[max(0, now_s - 60) : now_s]
        self._publish(
            {
                self._metrics.backlog: self._queue.visible + self._queue.in_flight,
                self._metrics.arrivals_per_s: float(recent.mean()) if now_s else 0.0,
                self._metrics.tasks_per_worker_s: self._tasks_per_worker_s(now_s),
            },
            now_s - HIGH_RESOLUTION_S,
            OWN_DELAY_S,
        )

    def _publish(
        self, values: Mapping[Metric, float], start_s: int, delay_s: tuple[int, int]
    ) -> None:
        now_s = int(self._environment.now)
        for metric, value in values.items():
            delay = max(self._delays.uniform(*delay_s), self._scenario.delay_s)
            if now_s not in self._scenario.gap:
                metric.publish(start_s, value, arrives_at_s=now_s + delay)

    def _scale(self, now_s: int) -> None:
        before = self._target.desired
        self._controller.act(now_s)
        if self._target.desired != before:
            self._changes.append(self._target.desired - before)
        self._fleet.reconcile(self._target.desired)

    def _record(self, now_s: int) -> None:
        backlog = self._queue.visible + self._queue.in_flight
        self._timeline.append(Moment(now_s, backlog, self._target.desired, self._fleet.running))


def _arrivals(scenario: Scenario, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Tasks that arrive in each second: a Poisson process, and bursts."""
    rates = np.array([scenario.tasks_per_s(second) for second in range(scenario.duration_s)])
    arrivals = np.random.default_rng([seed, 1]).poisson(rates)
    for second, count in scenario.bursts.items():
        arrivals[second] += count
    return arrivals
