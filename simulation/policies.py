"""The policies that are compared."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from cdk.settings import Settings
from simulation.auto_scaling import AutoScaling, Policy, Step, StepScaling, TargetTracking
from simulation.cloudwatch import Alarm, Expression, read
from simulation.system import (
    HIGH_RESOLUTION_S,
    SCALING_INTERVAL_S,
    STANDARD_S,
    Controller,
    Metrics,
    ScalingPolicy,
    Setup,
)

OURS = "Taskfleet"
BEST = "best reactive"

CPU_TARGET_PERCENT = 70
FROM_ZERO_DATAPOINTS, FROM_ZERO_PERIODS = 4, 7
"""As in cdk/constructs/backlog_scaling.py; a test compares them with the templates."""


def policies(best: "Reactive") -> Sequence[ScalingPolicy]:
    """All policies, ours first. The yardstick is `best`, which the search found."""
    return (
        ScalingPolicy(OURS, taskfleet, leaves_zero=True),
        ScalingPolicy("QueueProcessingFargateService", queue_processing_service),
        ScalingPolicy("Copilot", copilot),
        ScalingPolicy("CPU tracking", cpu_tracking),
        ScalingPolicy("backlog tracking", backlog_tracking),
        ScalingPolicy(BEST, best.build, leaves_zero=True),
    )


class TaskfleetPolicies:
    """The policies of cdk/constructs/backlog_scaling.py."""

    def __init__(self, setup: Setup) -> None:
        settings, target = setup.settings, setup.target
        self.all: Sequence[Policy] = (
            self._tracking(setup, _backlog_per_worker(setup.metrics), settings.backlog_per_worker),
            self._tracking(setup, read(setup.metrics.cpu_percent), CPU_TARGET_PERCENT),
            StepScaling(
                target,
                Alarm(
                    _waiting_without_worker(setup.metrics),
                    lambda value: value >= 1,
                    STANDARD_S,
                    FROM_ZERO_PERIODS,
                    FROM_ZERO_DATAPOINTS,
                ),
                [Step(settings.worker_from_zero_tasks, lower=1)],
                cooldown_s=settings.worker_from_zero_cooldown_s,
            ),
        )

    def _tracking(self, setup: Setup, value: Expression, target_value: float) -> TargetTracking:
        return TargetTracking(
            setup.target,
            value,
            target_value=target_value,
            scale_out_cooldown_s=setup.settings.worker_scale_out_cooldown_s,
            scale_in_cooldown_s=setup.settings.worker_scale_in_cooldown_s,
        )


def taskfleet(setup: Setup) -> Controller:
    """What is deployed."""
    return AutoScaling(setup.target, TaskfleetPolicies(setup).all)


def _backlog_per_worker(metrics: Metrics) -> Expression:
    def expression(start_s: int, now_s: int) -> float | None:
        visible = metrics.visible.value(start_s, now_s=now_s)
        in_flight = metrics.in_flight.value(start_s, now_s=now_s)
        running = metrics.running.value(start_s, now_s=now_s)
        if visible is None or in_flight is None or not running:
            return None
        return (visible + in_flight) / running

    return expression


def _waiting_without_worker(metrics: Metrics) -> Expression:
    def expression(start_s: int, now_s: int) -> float | None:
        if (metrics.running.value(start_s, now_s=now_s) or 0) >= 1:
            return 0
        return metrics.visible.value(start_s, now_s=now_s)

    return expression


def queue_processing_service(setup: Setup) -> Controller:
    """The defaults of the CDK's construct, except for its maximum of two tasks.

    Source: "QueueProcessingFargateServiceProps", AWS CDK API Reference: steps 0 → -1, 100 → +1,
    500 → +5, 50 % CPU and a cooldown of 300 s. The metric's defaults are the maximum and a period
    of five minutes: "Metric", AWS CDK API Reference.
    """
    metrics, target = setup.metrics, setup.target

    def visible(start_s: int, now_s: int) -> float | None:
        minutes = range(start_s, start_s + 300, STANDARD_S)
        values = [metrics.visible.value(minute, now_s=now_s) for minute in minutes]
        return max((value for value in values if value is not None), default=None)

    def steps(breaches_above: bool, chosen: Sequence[Step]) -> StepScaling:  # noqa: FBT001
        threshold = 100 if breaches_above else 0
        alarm = Alarm(
            visible,
            (lambda value: value >= threshold) if breaches_above else (lambda value: value <= 0),
            300,
            1,
            1,
        )
        return StepScaling(target, alarm, chosen)

    return AutoScaling(
        target,
        [
            steps(breaches_above=True, chosen=[Step(1, 100, 500), Step(5, 500)]),
            steps(breaches_above=False, chosen=[Step(-1, -inf, 1)]),
            TargetTracking(target, read(metrics.cpu_percent), target_value=50),
        ],
    )


def copilot(setup: Setup) -> Controller:
    """Copilot's formula: visible messages / running tasks, tracked at latency / time per message.

    A function publishes the ratio every minute. Source: ``backlog-per-task-calculator.js`` of
    aws/copilot-cli; "Backend service manifest", Copilot documentation.
    """
    metrics = setup.metrics

    def backlog_per_task(start_s: int, now_s: int) -> float | None:
        visible = metrics.visible.value(start_s, now_s=now_s)
        running = metrics.running.value(start_s, now_s=now_s)
        return None if visible is None else ceil(visible / max(running or 0, 1))

    return AutoScaling(
        setup.target,
        [TargetTracking(setup.target, backlog_per_task, target_value=_acceptable_backlog(setup))],
    )


def cpu_tracking(setup: Setup) -> Controller:
    """Target tracking of 70 % CPU with default cooldowns."""
    return AutoScaling(
        setup.target,
        [
            TargetTracking(
                setup.target, read(setup.metrics.cpu_percent), target_value=CPU_TARGET_PERCENT
            )
        ],
    )


def backlog_tracking(setup: Setup) -> Controller:
    """AWS's example of metric math: visible messages / running tasks, with default cooldowns.

    Source: "Create a target tracking scaling policy for Application Auto Scaling using metric
    math", Application Auto Scaling User Guide.
    """
    metrics = setup.metrics

    def expression(start_s: int, now_s: int) -> float | None:
        visible = metrics.visible.value(start_s, now_s=now_s)
        running = metrics.running.value(start_s, now_s=now_s)
        return None if visible is None or not running else visible / running

    return AutoScaling(
        setup.target,
        [TargetTracking(setup.target, expression, target_value=_acceptable_backlog(setup))],
    )


def _acceptable_backlog(setup: Setup) -> float:
    """What a worker completes within the promise."""
    return setup.promise_s * tasks_per_worker_s(setup.settings)


def tasks_per_worker_s(settings: Settings) -> float:
    """Tasks that a worker completes per second, by its settings."""
    return settings.worker_cpu / 1_024 / settings.task_cpu_s


@dataclass(frozen=True)
class Reactive:
    """Sets the desired count from metrics of our own every ten seconds, without target tracking.

    The count drains the backlog within a part of the promise, and leaves a reserve above the
    arrivals. It falls to what was needed at most in the last `hold_s` seconds.
    """

    drain_share: float
    """Part of the promise in which the backlog is drained."""
    utilization: float
    """Share of the workers' capacity that arrivals may use."""
    hold_s: int

    def build(self, setup: Setup) -> Controller:
        return _ReactiveController(self, setup)


class _ReactiveController:
    def __init__(self, constants: Reactive, setup: Setup) -> None:
        self._constants = constants
        self._setup = setup
        self._needed: deque[int] = deque(maxlen=constants.hold_s // SCALING_INTERVAL_S)

    def act(self, now_s: int) -> None:
        needed = self._needed_now(now_s)
        if needed is None:
            return
        self._needed.append(needed)
        self._setup.target.desired = self._setup.target.limited(max(self._needed))

    def _needed_now(self, now_s: int) -> int | None:
        """Workers that the newest metrics ask for, or None without metrics."""
        metrics = self._setup.metrics
        values = [
            metric.newest(now_s=now_s, within=300 // HIGH_RESOLUTION_S)
            for metric in (metrics.backlog, metrics.arrivals_per_s, metrics.tasks_per_worker_s)
        ]
        if None in values:
            return None
        backlog, arrivals_per_s, worker_per_s = (value or 0.0 for value in values)
        window_s = self._constants.drain_share * self._setup.promise_s
        return max(
            ceil(backlog / worker_per_s / window_s),
            ceil(arrivals_per_s / worker_per_s / self._constants.utilization - 0.05),
        )
