"""Application Auto Scaling in the model, against examples of its documentation."""

from collections.abc import Callable

import pytest

from simulation.auto_scaling import (
    MAX_STEPS,
    AutoScaling,
    Policy,
    ScalableTarget,
    Step,
    StepScaling,
    TargetTracking,
)
from simulation.cloudwatch import Alarm

MINUTE_S = 60


class Service:
    """A service whose containers run as soon as they are desired, unless `stuck`."""

    def __init__(self, desired: int, *, minimum: int = 1, maximum: int = 100) -> None:
        self.stuck_at: int | None = None
        self.target = ScalableTarget(minimum, maximum, running=self.running)
        self.target.desired = desired

    def running(self) -> int:
        return self.target.desired if self.stuck_at is None else self.stuck_at


def constant(value: float) -> Callable[[int, int], float]:
    return lambda _start_s, _now_s: value


def scaled(service: Service, policies: list[Policy], *, minutes: int) -> list[int]:
    """The desired count after each minute."""
    scaling = AutoScaling(service.target, policies)
    counts = []
    for minute in range(minutes):
        scaling.act(minute * MINUTE_S)
        counts.append(service.target.desired)
    return counts


def tracking(service: Service, value: float, target_value: float = 50) -> TargetTracking:
    return TargetTracking(service.target, constant(value), target_value=target_value)


# "Target tracking scaling policies": scales out in proportion to the metric, and rounds up.
@pytest.mark.parametrize(("desired", "value", "wanted"), [(4, 60, 5), (10, 55, 11), (2, 100, 4)])
def test_target_tracking_adds_capacity_in_proportion(
    desired: int, value: float, wanted: int
) -> None:
    service = Service(desired)

    assert scaled(service, [tracking(service, value)], minutes=1) == [wanted]


def test_target_tracking_ignores_a_metric_just_below_its_target() -> None:
    service = Service(10)

    assert set(scaled(service, [tracking(service, 46)], minutes=30)) == {10}


def test_target_tracking_removes_capacity_when_the_metric_is_low() -> None:
    service = Service(10)

    assert scaled(service, [tracking(service, 20)], minutes=1) == [4]


def test_target_tracking_cannot_leave_zero() -> None:
    service = Service(0, minimum=0)

    assert scaled(service, [tracking(service, 900)], minutes=5) == [0] * 5


def test_capacity_is_removed_only_if_every_target_tracking_policy_agrees() -> None:
    service = Service(10)

    assert set(scaled(service, [tracking(service, 20), tracking(service, 48)], minutes=20)) == {10}


def test_the_policy_that_keeps_the_most_capacity_decides() -> None:
    service = Service(10)

    assert scaled(service, [tracking(service, 5), tracking(service, 30)], minutes=1) == [6]


def test_a_policy_in_its_cooldown_keeps_the_others_from_removing_more() -> None:
    service = Service(10)

    assert set(scaled(service, [tracking(service, 5), tracking(service, 30)], minutes=5)) == {6}


def test_without_data_target_tracking_does_nothing() -> None:
    service = Service(10)
    blind = TargetTracking(service.target, lambda _start_s, _now_s: None, target_value=50)

    assert set(scaled(service, [blind, tracking(service, 5)], minutes=20)) == {10}


def step_policy(
    service: Service, value: Callable[[int, int], float], cooldown_s: int = 300
) -> StepScaling:
    """+2 from 60 %, +3 from 70 %."""
    alarm = Alarm(value, lambda v: v >= 60, MINUTE_S, 1, 1)
    return StepScaling(service.target, alarm, [Step(2, 60, 70), Step(3, 70)], cooldown_s=cooldown_s)


def test_a_step_is_not_repeated_during_its_cooldown() -> None:
    service = Service(10)
    policy = step_policy(service, constant(65))

    # The added containers are seen after a minute; the cooldown ends five minutes later.
    assert scaled(service, [policy], minutes=8) == [12] * 6 + [14] * 2


def test_a_larger_step_during_the_cooldown_adds_only_the_difference() -> None:
    """The example of StepScalingPolicyConfiguration: of 3 tasks, the 2 added before count."""
    service = Service(10)
    policy = step_policy(service, lambda _start_s, now_s: 65 if now_s < MINUTE_S else 75)

    assert scaled(service, [policy], minutes=3) == [12, 13, 13]


def test_a_cooldown_begins_when_the_added_containers_run() -> None:
    service = Service(10)
    service.stuck_at = 10
    policy = step_policy(service, constant(65), cooldown_s=60)

    assert scaled(service, [policy], minutes=5) == [12] * 5


def test_steps_can_set_an_exact_capacity() -> None:
    service = Service(10)
    alarm = Alarm(constant(7), lambda v: v >= 1, MINUTE_S, 1, 1)
    policy = StepScaling(service.target, alarm, [Step(4, 1, 5), Step(8, 5)], exact=True)

    assert scaled(service, [policy], minutes=1) == [8]


def test_the_capacity_stays_within_its_limits() -> None:
    service = Service(10, maximum=12)

    assert scaled(service, [tracking(service, 500)], minutes=1) == [12]


def test_a_policy_has_at_most_twenty_steps() -> None:
    service = Service(1)
    alarm = Alarm(constant(0), lambda v: v >= 1, MINUTE_S, 1, 1)
    steps = [Step(1, lower, lower + 1) for lower in range(MAX_STEPS + 1)]

    with pytest.raises(ValueError, match="20 steps"):
        StepScaling(service.target, alarm, steps)
