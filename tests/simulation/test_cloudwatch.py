"""Alarms of the model, against the examples of the Amazon CloudWatch User Guide."""

import pytest

from simulation.cloudwatch import (
    ALARM,
    INSUFFICIENT_DATA,
    OK,
    Alarm,
    Metric,
    MissingData,
    State,
    alarm_state,
    evaluated_points,
    read,
)

MINUTE_S = 60

HIGH, LOW = 1.0, 0.0

DOCUMENTED = [
    # "3 out of 3", from the table of "Configuring how CloudWatch alarms treat missing data". Points
    # are in order of time there: 0 is good, X breaches, - is missing.
    ("0-X-X", OK, OK),
    ("-----", INSUFFICIENT_DATA, OK),
    ("0XX-X", ALARM, ALARM),
    ("--X--", ALARM, OK),
]
"""The evaluation range, and the state with missing data as "missing" and as "notBreaching"."""


def points(drawn: str) -> list[float | None]:
    """The data points of a drawing, newest first."""
    return [{"0": LOW, "X": HIGH, "-": None}[symbol] for symbol in reversed(drawn)]


@pytest.mark.parametrize(("drawn", "missing", "not_breaching"), DOCUMENTED)
def test_missing_data_points_are_treated_as_documented(
    drawn: str, missing: State, not_breaching: State
) -> None:
    def state(treatment: MissingData) -> State:
        return alarm_state(
            evaluated_points(points(drawn), 3),
            breaches=lambda value: value > 0,
            datapoints=3,
            missing=treatment,
        )

    assert state("notBreaching") == not_breaching
    assert state("missing") == missing


def alarm(metric: Metric, *, periods: int, datapoints: int) -> Alarm:
    return Alarm(read(metric), lambda value: value > 0, MINUTE_S, periods, datapoints)


def test_a_value_cannot_be_read_before_it_arrives() -> None:
    metric = Metric(MINUTE_S)
    metric.publish(0, 7, arrives_at_s=150)

    assert metric.value(0, now_s=149) is None
    assert metric.value(0, now_s=150) == 7


@pytest.mark.parametrize(("delay_s", "goes_off_at_min"), [(60, 4), (180, 6)])
def test_an_alarm_on_late_metrics_goes_off_later_by_their_delay(
    delay_s: int, goes_off_at_min: int
) -> None:
    metric = Metric(MINUTE_S)
    check = alarm(metric, periods=3, datapoints=3)
    for minute in range(-10, 20):
        start_s = minute * MINUTE_S
        value = HIGH if minute >= 0 else LOW
        metric.publish(start_s, value, arrives_at_s=start_s + MINUTE_S + delay_s)

    states = {minute: check.evaluate(minute * MINUTE_S) and check.state for minute in range(20)}

    assert min(minute for minute, state in states.items() if state) == goes_off_at_min


def test_a_gap_delays_an_alarm_but_does_not_hide_what_breaches() -> None:
    metric = Metric(MINUTE_S)
    check = alarm(metric, periods=3, datapoints=3)
    for minute in (0, 1, 4):
        metric.publish(minute * MINUTE_S, HIGH, arrives_at_s=(minute + 1) * MINUTE_S)

    check.evaluate(5 * MINUTE_S)

    assert check.state == ALARM


def test_an_alarm_without_data_is_in_insufficient_data() -> None:
    check = alarm(Metric(MINUTE_S), periods=3, datapoints=3)

    check.evaluate(10 * MINUTE_S)

    assert check.state == INSUFFICIENT_DATA


def test_an_alarm_that_stays_on_acts_once_a_minute() -> None:
    metric = Metric(10)
    check = Alarm(read(metric), lambda value: value > 0, 10, 1, 1)
    for start_s in range(0, 200, 10):
        metric.publish(start_s, HIGH, arrives_at_s=start_s + 10)

    acted = [now_s for now_s in range(10, 200, 10) if check.evaluate(now_s)]

    assert acted == [10, 70, 130, 190]
