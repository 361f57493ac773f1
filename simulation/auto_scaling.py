"""Application Auto Scaling: target tracking, step scaling, cooldowns, and several policies at once.

Sources: "How target tracking scaling for Application Auto Scaling works" and "How step scaling for
Application Auto Scaling works", Application Auto Scaling User Guide;
"StepScalingPolicyConfiguration" and "TargetTrackingScalingPolicyConfiguration", Application Auto
Scaling API Reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Protocol

from simulation.cloudwatch import Alarm, Expression

HIGH_PERIODS, LOW_PERIODS = 3, 15
"""Periods of the alarms that target tracking creates. AWS documents neither number; these are the
alarms that it creates for metrics with a period of one minute."""

LOW_SHARE = 0.9
"""Target tracking removes capacity below this share of its target. The User Guide says "usually
more than 10 % lower"."""

DEFAULT_COOLDOWN_S = 300
"""For ECS services. Source: "TargetTrackingScalingPolicyConfiguration", API Reference."""


class ScalableTarget:
    """The desired count of a service, within its limits."""

    def __init__(self, minimum: int, maximum: int, *, running: Callable[[], int]) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.desired = minimum
        self.running = running

    def limited(self, capacity: float) -> int:
        return int(min(max(capacity, self.minimum), self.maximum))


@dataclass
class Activity:
    """A change of the desired count. It ends when the service runs that many tasks, and only then
    does its cooldown begin."""

    capacity_before: int
    capacity: int
    ended_at_s: int | None = None


class Cooldown:
    """The cooldown after the last scaling activity of one policy in one direction."""

    def __init__(self, seconds: int, target: ScalableTarget) -> None:
        self._seconds = seconds
        self._target = target
        self._last: Activity | None = None

    def running(self, now_s: int) -> Activity | None:
        """The activity whose cooldown has not ended."""
        last = self._last
        if last is None:
            return None
        if last.ended_at_s is None and self._is_fulfilled(last):
            last.ended_at_s = now_s
        if last.ended_at_s is not None and now_s >= last.ended_at_s + self._seconds:
            self._last = last = None
        return last

    def _is_fulfilled(self, activity: Activity) -> bool:
        out = activity.capacity > activity.capacity_before
        running, desired = self._target.running(), self._target.desired
        return running >= min(activity.capacity, desired) if out else running <= activity.capacity

    def begin(self, capacity: int) -> None:
        """Remember a change of the desired count. A larger one keeps the first one's base."""
        before = self._last.capacity_before if self._last else self._target.desired
        self._last = Activity(before, capacity)

    def end(self) -> None:
        self._last = None


def _begin_cooldown(out: Cooldown, into: Cooldown, capacity: int, before: int) -> None:
    """Begin the cooldown of a change. Scaling out ends the cooldown of scaling in."""
    if capacity > before:
        into.end()
        out.begin(capacity)
    else:
        into.begin(capacity)


class Policy(Protocol):
    """A scaling policy. Its alarms are evaluated every `period_s` seconds."""

    period_s: int

    def evaluate(self, now_s: int) -> None: ...

    def scale_out(self, now_s: int) -> int | None:
        """The capacity that the policy asks for, above the current one."""

    def scale_in(self, now_s: int) -> int | None:
        """The capacity that the policy would keep, at most the current one."""

    def changed(self, capacity: int, *, before: int) -> None:
        """The desired count changed because this policy asked for it."""


class TargetTracking:
    """Multiplies the capacity by how far the metric is from its target."""

    def __init__(
        self,
        target: ScalableTarget,
        value: Expression,
        *,
        target_value: float,
        scale_out_cooldown_s: int = DEFAULT_COOLDOWN_S,
        scale_in_cooldown_s: int = DEFAULT_COOLDOWN_S,
        period_s: int = 60,
    ) -> None:
        self.period_s = period_s
        self.target_value = target_value
        self.scale_out_cooldown_s = scale_out_cooldown_s
        self.scale_in_cooldown_s = scale_in_cooldown_s
        self._target = target
        self._out = Cooldown(scale_out_cooldown_s, target)
        self._in = Cooldown(scale_in_cooldown_s, target)
        self.high = Alarm(value, lambda v: v > target_value, period_s, HIGH_PERIODS, HIGH_PERIODS)
        self.low = Alarm(
            value, lambda v: v < LOW_SHARE * target_value, period_s, LOW_PERIODS, LOW_PERIODS
        )
        self._adds = self._removes = False

    def evaluate(self, now_s: int) -> None:
        self._adds, self._removes = self.high.evaluate(now_s), self.low.evaluate(now_s)

    def scale_out(self, now_s: int) -> int | None:
        value = self.high.newest
        if not self._adds or value is None:
            return None
        cooling = self._out.running(now_s)
        base = cooling.capacity_before if cooling else self._target.desired
        wanted = self._target.limited(ceil(base * value / self.target_value))
        return wanted if wanted > self._target.desired else None

    def scale_in(self, now_s: int) -> int | None:
        value = self.low.newest
        if not self._removes or value is None or self._in.running(now_s):
            return None
        wanted = self._target.limited(ceil(self._target.desired * value / self.target_value))
        return min(wanted, self._target.desired)

    def changed(self, capacity: int, *, before: int) -> None:
        _begin_cooldown(self._out, self._in, capacity, before)


@dataclass(frozen=True)
class Step:
    """What to do while the metric is at least `lower` and below `upper`."""

    adjustment: int
    lower: float = -inf
    upper: float = inf


MAX_STEPS = 20
"""Steps of one policy. Source: "Application Auto Scaling endpoints and quotas", AWS General
Reference."""


class StepScaling:
    """Changes the capacity by, or to, a number that depends on the metric."""

    def __init__(
        self,
        target: ScalableTarget,
        alarm: Alarm,
        steps: Sequence[Step],
        *,
        exact: bool = False,
        cooldown_s: int = DEFAULT_COOLDOWN_S,
    ) -> None:
        if len(steps) > MAX_STEPS:
            raise ValueError(f"a policy has at most {MAX_STEPS} steps")
        self.period_s = alarm.period_s
        self.alarm = alarm
        self.steps = steps
        self.cooldown_s = cooldown_s
        self._target = target
        self._exact = exact
        self._out = Cooldown(cooldown_s, target)
        self._in = Cooldown(cooldown_s, target)
        self._acts = False

    def evaluate(self, now_s: int) -> None:
        self._acts = self.alarm.evaluate(now_s)

    def scale_out(self, now_s: int) -> int | None:
        cooling = self._out.running(now_s)
        base = cooling.capacity_before if cooling else self._target.desired
        wanted = self._wanted(base)
        return wanted if wanted is not None and wanted > self._target.desired else None

    def scale_in(self, now_s: int) -> int | None:
        if self._in.running(now_s):
            return None
        wanted = self._wanted(self._target.desired)
        return wanted if wanted is not None and wanted < self._target.desired else None

    def _wanted(self, base: int) -> int | None:
        value = self.alarm.newest
        if not self._acts or value is None:
            return None
        step = next((each for each in self.steps if each.lower <= value < each.upper), None)
        if step is None:
            return None
        return self._target.limited(step.adjustment + (0 if self._exact else base))

    def changed(self, capacity: int, *, before: int) -> None:
        _begin_cooldown(self._out, self._in, capacity, before)


class AutoScaling:
    """Several policies of one target. The one that asks for the most capacity decides."""

    def __init__(self, target: ScalableTarget, policies: Sequence[Policy]) -> None:
        self._target = target
        self._policies = policies

    def act(self, now_s: int) -> None:
        """Evaluate the alarms that are due, and change the desired count."""
        due = [policy for policy in self._policies if now_s % policy.period_s == 0]
        for policy in due:
            policy.evaluate(now_s)
        if not self._scale([(each, each.scale_out(now_s)) for each in due]):
            self._scale_in(due, now_s)

    def _scale_in(self, due: Sequence[Policy], now_s: int) -> None:
        """Target tracking removes capacity only if all its policies agree. Steps ask nobody."""
        tracking = [
            (each, each.scale_in(now_s)) for each in due if isinstance(each, TargetTracking)
        ]
        if all(wanted is not None for _, wanted in tracking):
            self._scale(tracking)
        steps = [each for each in due if not isinstance(each, TargetTracking)]
        self._scale([(each, each.scale_in(now_s)) for each in steps])

    def _scale(self, wishes: Sequence[tuple[Policy, int | None]]) -> bool:
        """Set the largest capacity that was asked for. False if it is the current one."""
        before = self._target.desired
        capacity, policy = max(
            ((wanted, each) for each, wanted in wishes if wanted is not None),
            key=lambda wish: wish[0],
            default=(before, None),
        )
        if policy is None or capacity == before:
            return False
        policy.changed(capacity, before=before)
        self._target.desired = capacity
        return True
