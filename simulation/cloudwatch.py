"""CloudWatch: metrics that arrive late or never, and alarms on them.

Sources: "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data", Amazon
CloudWatch User Guide; "PutMetricAlarm", Amazon CloudWatch API Reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
MissingData = Literal["missing", "notBreaching"]
"""How an alarm treats missing data points."""

OK: State = "OK"
ALARM: State = "ALARM"
INSUFFICIENT_DATA: State = "INSUFFICIENT_DATA"

ACTION_INTERVAL_S = 60
"""While an alarm stays in ALARM, it invokes its scaling policy again once a minute.

Source: "Alarm actions", Amazon CloudWatch User Guide."""

EXTRA_PERIODS = 5
"""Periods before the evaluated ones from which CloudWatch takes values for missing ones. The number
is not documented. With fewer, target tracking would never act on metrics that are three minutes
late."""


class Metric:
    """One value per period. A value can be read once it has arrived."""

    def __init__(self, period_s: int) -> None:
        self.period_s = period_s
        self._points: dict[int, tuple[float, float]] = {}

    def publish(self, start_s: int, value: float, *, arrives_at_s: float) -> None:
        """Record the value of the period that begins at `start_s`."""
        self._points[start_s] = (value, arrives_at_s)

    def value(self, start_s: int, *, now_s: float) -> float | None:
        """The value of a period, or None if it is late or missing."""
        value, arrives_at_s = self._points.get(start_s, (0.0, float("inf")))
        return value if arrives_at_s <= now_s else None

    def newest(self, *, now_s: int, within: int) -> float | None:
        """The newest value of the last `within` periods that has arrived."""
        last = now_s // self.period_s * self.period_s
        for start_s in range(last, last - within * self.period_s, -self.period_s):
            if (value := self.value(start_s, now_s=now_s)) is not None:
                return value
        return None


Expression = Callable[[int, int], float | None]
"""The data point of the period that begins at the first argument, as known at the second."""


def read(metric: Metric) -> Expression:
    """The metric itself, without metric math."""
    return lambda start_s, now_s: metric.value(start_s, now_s=now_s)


def evaluated_points(newest_first: Sequence[float | None], periods: int) -> Sequence[float | None]:
    """The data points that decide: if enough of them are known, missing ones do not count.

    If not, CloudWatch also counts older good points, and stays OK where this says
    INSUFFICIENT_DATA. No scaling policy acts in either state.
    """
    known = [point for point in newest_first if point is not None]
    return known[:periods] if len(known) >= periods else newest_first[:periods]


def alarm_state(
    points: Sequence[float | None],
    *,
    breaches: Callable[[float], bool],
    datapoints: int,
    missing: MissingData,
) -> State:
    """The state that follows from the evaluated data points, newest first."""
    known = [point for point in points if point is not None]
    breaching = sum(map(breaches, known))
    if breaching >= datapoints:
        return ALARM
    if missing == "notBreaching":
        return OK
    if not known:
        return INSUFFICIENT_DATA
    oldest = max(index + 1 for index, point in enumerate(points) if point is not None)
    # CloudWatch does not wait for missing points if all others breach and are old enough.
    return ALARM if breaching == len(known) and oldest >= datapoints else OK


@dataclass
class Alarm:
    """An alarm with `datapoints` of `periods` breaching values ("M out of N")."""

    value: Expression
    breaches: Callable[[float], bool]
    period_s: int
    periods: int
    datapoints: int
    missing: MissingData = "missing"
    state: State = INSUFFICIENT_DATA
    newest: float | None = None
    """The newest data point that has arrived."""
    _acted_at_s: int | None = field(default=None, init=False)

    def evaluate(self, now_s: int) -> bool:
        """Update the state. True if the alarm invokes its action now."""
        last = now_s // self.period_s * self.period_s
        points = [
            self.value(last - k * self.period_s, now_s)
            for k in range(1, self.periods + EXTRA_PERIODS + 1)
        ]
        self.newest = next((point for point in points if point is not None), None)
        self.state = alarm_state(
            evaluated_points(points, self.periods),
            breaches=self.breaches,
            datapoints=self.datapoints,
            missing=self.missing,
        )
        return self._acts(now_s)

    def _acts(self, now_s: int) -> bool:
        if self.state != ALARM:
            self._acted_at_s = None
            return False
        if self._acted_at_s is not None and now_s - self._acted_at_s < ACTION_INTERVAL_S:
            return False
        self._acted_at_s = now_s
        return True
