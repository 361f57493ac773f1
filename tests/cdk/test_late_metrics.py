"""Alarms and scaling while CloudWatch's metrics are late, have gaps, or stop."""

from collections.abc import Iterator, Mapping

import pytest

from cdk.constructs.alarm import LATEST_METRIC_MIN
from cdk.settings import FROM_ZERO_MEMORY_S
from cdk.template.templates import Resource, Templates
from simulation.cloudwatch import ALARM, INSUFFICIENT_DATA
from tests.cdk.alarms import ALARMS, MISSING, alarm, mails
from tests.cdk.cloudwatch import (
    EXTRA_PERIODS,
    Metrics,
    SimulatedAlarm,
    Values,
    every_delay,
    filled_metrics,
    high_alarm,
    simulated,
)

BEFORE, AFTER = range(-60, 0), range(100)
"""Everything is well before minute 0, and in trouble afterwards."""

GAPS = {-52, -41, -33, -24, -17, -8}
"""Minutes whose values never arrive."""


def steady(value: float, minutes: range = BEFORE) -> Values:
    return dict.fromkeys(minutes, value)


def changed(before: float, after: float) -> Values:
    return {**steady(before), **steady(after, AFTER)}


def every(interval: int, value: float, minutes: range) -> Values:
    return {minute: value for minute in minutes if minute % interval == 0}


ALWAYS = range(BEFORE.start, AFTER.stop)

TROUBLE: Mapping[str, Mapping[str, Values]] = {
    "dead letters": {"ApproximateNumberOfMessagesVisible": changed(0, 1)},
    "late first claim": {"FirstClaimWait": {**every(7, 4_000, BEFORE), 0: 600_000}},
    "stalled queue": {
        "ApproximateNumberOfMessagesVisible": steady(5, ALWAYS),
        "NumberOfMessagesDeleted": changed(60, 0),
    },
    "API errors": {
        "RequestCount": steady(100, ALWAYS),
        "HTTPCode_Target_5XX_Count": steady(2, AFTER),
    },
    "load balancer errors": {
        "RequestCount": steady(100, ALWAYS),
        "HTTPCode_ELB_5XX_Count": steady(2, AFTER),
    },
    "API down": {"HealthyHostCount": changed(2, 0)},
    "API missing": {"HealthyHostCount": steady(2)},
    "API latency": {"TargetResponseTime": changed(0.1, 3)},
    "maximum workers": {"RunningTaskCount": changed(4, 20)},
    "failing reconciler": {
        "InvocationAttemptCount": every(5, 1, ALWAYS),
        "ReconcileRuns": every(5, 1, BEFORE),
    },
    "missing schedule": {"InvocationAttemptCount": every(5, 1, BEFORE)},
    "overdue tasks": {"OpenTasksOverdue": {**every(5, 0, BEFORE), **every(5, 3, AFTER)}},
}
"""For each alarm, its metrics when its trouble begins in minute 0."""


def all_alarms(deployment: Templates, name: str) -> Iterator[SimulatedAlarm]:
    for extra_periods in EXTRA_PERIODS:
        yield simulated(alarm(deployment, name), extra_periods=extra_periods)


def deadline_min(found: Resource) -> int:
    """The documented time after which an alarm has gone off, in minutes."""
    check = simulated(found)
    return check.datapoints * check.query.period_min + LATEST_METRIC_MIN


@pytest.mark.parametrize("name", [*ALARMS, *MISSING])
def test_an_alarm_goes_off_in_time_when_its_metrics_are_late(
    standard: Templates, name: str
) -> None:
    reports = INSUFFICIENT_DATA if name in MISSING else ALARM
    deadline = deadline_min(alarm(standard, name))
    for check in all_alarms(standard, name):
        for metrics in every_delay(TROUBLE[name], check.query.metrics):
            states = check.history(metrics, range(BEFORE.start, deadline + 1))
            assert reports in states[len(BEFORE) :], metrics.delays


@pytest.mark.parametrize("name", [*ALARMS, *MISSING])
def test_no_alarm_goes_off_because_a_metric_is_late_or_has_gaps(
    standard: Templates, name: str
) -> None:
    well = {
        metric: {minute: value for minute, value in values.items() if minute < 0}
        for metric, values in TROUBLE[name].items()
    }
    for check in all_alarms(standard, name):
        for incomplete in sorted(check.query.metrics):
            values = {**well, incomplete: without_gaps(well.get(incomplete, {}))}
            for metrics in every_delay(values, check.query.metrics):
                # The first half hour fills the window of the longest alarm.
                states = check.history(metrics, BEFORE)[30:]
                assert ALARM not in states, (metrics.delays, incomplete)
                assert name not in MISSING or INSUFFICIENT_DATA not in states, metrics.delays


def without_gaps(values: Values) -> Values:
    return {minute: value for minute, value in values.items() if minute not in GAPS}


FIRST_DEPLOYMENT: Mapping[str, Values] = {
    # Containers are registered in minute 0 and become healthy in minute 2.
    "HealthyHostCount": {0: 0, 1: 0, **steady(2, range(2, 60))},
    "RequestCount": {20: 50},
    "HTTPCode_Target_5XX_Count": {20: 1},
    "TargetResponseTime": {20: 0.4},
    "RunningTaskCount": {**steady(1, range(4, 24)), **steady(2, range(36, 60))},
    # A task is submitted after the first worker was scaled in, and waits until others start.
    "ApproximateNumberOfMessagesVisible": {
        **steady(0, range(60)),
        **steady(1, range(27, 37)),
    },
    "NumberOfMessagesDeleted": {**steady(0, range(60)), 37: 1},
    "FirstClaimWait": {37: 595_000},
    "InvocationAttemptCount": every(5, 1, range(5, 60)),
    "ReconcileRuns": every(5, 1, range(7, 60)),
    "OpenTasksOverdue": every(5, 0, range(7, 60)),
}


@pytest.mark.parametrize("name", [*ALARMS, *MISSING])
def test_a_healthy_first_deployment_sends_no_mail(standard: Templates, name: str) -> None:
    (subscription,) = standard.all("SNS::Subscription")
    values = dict(FIRST_DEPLOYMENT)
    if name == "dead letters":  # the same metric of another queue
        values["ApproximateNumberOfMessagesVisible"] = steady(0, range(60))
    for check in all_alarms(standard, name):
        for metrics in every_delay(values, check.query.metrics):
            for creation in (3, 7, 11):
                states = check.history(metrics, range(creation, 60))
                sent = mails(alarm(standard, name), states, subscription=subscription)
                assert sent == [], (metrics.delays, creation)


@pytest.mark.parametrize("name", [*ALARMS, *MISSING])
def test_trouble_and_its_end_are_mailed(standard: Templates, name: str) -> None:
    (subscription,) = standard.all("SNS::Subscription")
    found = alarm(standard, name)
    well, trouble = "OK", INSUFFICIENT_DATA if name in MISSING else ALARM

    assert mails(found, [trouble], subscription=subscription) == (
        [] if name in MISSING else [trouble]
    )
    assert mails(found, [well, trouble], subscription=subscription) == [trouble]
    if name in ALARMS:
        assert mails(found, [well, trouble, well], subscription=subscription) == [trouble, well]


@pytest.mark.parametrize("error", ["HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"])
def test_one_error_in_fifty_requests_does_not_trigger_an_alarm(
    standard: Templates, error: str
) -> None:
    name = "API errors" if "Target" in error else "load balancer errors"
    values = {"RequestCount": steady(10), error: every(5, 1, BEFORE)}
    for check in all_alarms(standard, name):
        for metrics in every_delay(values, check.query.metrics):
            assert ALARM not in check.history(metrics, BEFORE)


def test_only_metrics_that_are_missing_for_a_reason_are_filled(dev: Templates) -> None:
    filled = {
        metric
        for found in dev.all("CloudWatch::Alarm")
        for metric in filled_metrics(simulated(found).query)
    }
    (tracking,) = backlog_policies(dev)

    assert filled == {
        "RunningTaskCount",  # no data while no worker runs
        "ReconcileRuns",  # no data from a run that fails
    }
    assert filled_metrics(high_alarm(tracking).query) == set()


# ── Scaling ───────────────────────────────────────────────────────────────────────────────────


def backlog_policies(deployment: Templates) -> list[Resource]:
    return [
        policy
        for policy in deployment.all("ApplicationAutoScaling::ScalingPolicy", stack="worker")
        if "CustomizedMetricSpecification"
        in policy.get("TargetTrackingScalingPolicyConfiguration", {})
    ]


def from_zero(deployment: Templates) -> Iterator[SimulatedAlarm]:
    (step,) = deployment.all(
        "ApplicationAutoScaling::ScalingPolicy", stack="worker", PolicyType="StepScaling"
    )
    found = deployment.one(
        "CloudWatch::Alarm", stack="worker", AlarmActions=[{"Ref": step.logical_id}]
    )
    for extra_periods in EXTRA_PERIODS:
        yield simulated(found, extra_periods=extra_periods)


def queue_with(visible: Values, running: Values) -> Mapping[str, Values]:
    return {"ApproximateNumberOfMessagesVisible": visible, "RunningTaskCount": running}


def test_waiting_messages_start_the_first_workers_within_seven_minutes(dev: Templates) -> None:
    for check in from_zero(dev):
        for metrics in every_delay(queue_with(changed(0, 1), {}), check.query.metrics):
            states = check.history(metrics, range(BEFORE.start, 8))
            assert ALARM in states, metrics.delays
            assert ALARM not in states[: len(BEFORE)]


def test_a_late_running_count_starts_no_workers_from_zero(dev: Templates) -> None:
    for check in from_zero(dev):
        for gap in (-30, -26, -22):
            running = {minute: 3.0 for minute in BEFORE if minute != gap}
            for metrics in every_delay(queue_with(steady(500), running), check.query.metrics):
                states = check.history(metrics, BEFORE)[15:]
                assert ALARM not in states, (metrics.delays, gap)


def test_the_cooldown_lasts_until_the_first_workers_are_counted(dev: Templates) -> None:
    counted_min = FROM_ZERO_MEMORY_S // 60
    for check in from_zero(dev):
        values = queue_with(steady(5, ALWAYS), steady(2, AFTER))
        for metrics in every_delay(values, check.query.metrics):
            states = check.history(metrics, ALWAYS)
            assert ALARM not in states[len(BEFORE) + counted_min :], metrics.delays


def test_a_burst_is_noticed_within_seven_minutes(deployment: Templates) -> None:
    (policy,) = backlog_policies(deployment)
    check = high_alarm(policy)
    burst = 2 * deployment.settings.backlog_per_worker
    values = {
        "ApproximateNumberOfMessagesVisible": changed(0, burst),
        "ApproximateNumberOfMessagesNotVisible": steady(8, ALWAYS),
        "RunningTaskCount": steady(1, ALWAYS),
    }
    for metrics in every_delay(values, check.query.metrics):
        states = check.history(metrics, range(BEFORE.start, 8))
        assert ALARM in states, metrics.delays
        assert ALARM not in states[: len(BEFORE)]


def test_late_metrics_never_add_workers_to_a_fleet_that_keeps_up(deployment: Templates) -> None:
    (policy,) = backlog_policies(deployment)
    check = high_alarm(policy)
    backlog = 0.8 * deployment.settings.backlog_per_worker
    for missing in ("RunningTaskCount", "ApproximateNumberOfMessagesVisible", "nothing"):
        values = {
            "ApproximateNumberOfMessagesVisible": steady(2 * backlog - 16),
            "ApproximateNumberOfMessagesNotVisible": steady(16),
            "RunningTaskCount": steady(2),
        }
        values = {name: {} if name == missing else each for name, each in values.items()}
        for metrics in every_delay(values, check.query.metrics):
            assert ALARM not in check.history(metrics, BEFORE), (metrics.delays, missing)


def test_a_fleet_without_a_running_worker_is_left_to_the_step_from_zero(dev: Templates) -> None:
    (policy,) = backlog_policies(dev)
    metrics = Metrics(queue_with(steady(500), {}))

    assert set(high_alarm(policy).history(metrics, BEFORE)) == {INSUFFICIENT_DATA}
