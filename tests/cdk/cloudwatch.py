"""CloudWatch's evaluation of alarms on metrics that arrive late, have gaps or stop.

Times are minutes. The value of minute 7 covers 7:00 to 8:00 and arrives at 8 plus its delay.

Sources: "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data" and "Using math
expressions with CloudWatch metrics", Amazon CloudWatch User Guide.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from typing import Any

from cdk.template.templates import Resource
from simulation.cloudwatch import (
    MissingData,
    State,
    alarm_state,
    evaluated_points,
)

Values = Mapping[int, float]
"""One value per minute. A minute without a value is a gap."""

DELAYS = (1, 2, 3)
"""Minutes by which a metric may be late."""

EXTRA_PERIODS = (0, 5)
"""Periods before the evaluated ones from which CloudWatch may take values for missing ones. The
number is not documented, so alarms must work with any."""


@dataclass(frozen=True)
class Metrics:
    """The values of each metric, by its name, and by how many minutes each is late."""

    values: Mapping[str, Values]
    delays: Mapping[str, int] = field(default_factory=dict)

    def arrived(self, name: str, minutes: range, *, now: int) -> list[float]:
        values, delay = self.values.get(name, {}), self.delays.get(name, 0)
        return [values[m] for m in minutes if m in values and m + 1 + delay <= now]


def every_delay(values: Mapping[str, Values], names: Iterable[str]) -> Iterator[Metrics]:
    """The same values with each combination of delays."""
    names = sorted(names)
    for delays in product(DELAYS, repeat=len(names)):
        yield Metrics(values, dict(zip(names, delays, strict=True)))


@dataclass(frozen=True)
class Query:
    """What an alarm or a scaling policy reads: metrics by id, and the expression to return."""

    statistics: Mapping[str, tuple[str, str]]
    """By id: the metric's name and its statistic."""
    expression: str
    period_min: int

    @property
    def metrics(self) -> set[str]:
        return {name for name, _ in self.statistics.values()}

    def value(self, metrics: Metrics, window: range, *, now: int) -> float | None:
        """The data point of one period, or None if it is missing."""
        series = {
            identifier: _aggregate(metrics.arrived(name, window, now=now), statistic)
            for identifier, (name, statistic) in self.statistics.items()
        }
        return evaluate(self.expression, **series)


@dataclass(frozen=True)
class SimulatedAlarm:
    """An alarm of the templates, or one that target tracking creates."""

    query: Query
    periods: int
    datapoints: int
    breaches: Callable[[float], bool]
    missing: MissingData
    extra_periods: int = 0

    def history(self, metrics: Metrics, minutes: range) -> list[State]:
        """The state in each of `minutes`, the first of which is that of the alarm's creation."""
        return [self._state(metrics, now) for now in minutes]

    def _state(self, metrics: Metrics, now: int) -> State:
        return alarm_state(
            self._points(metrics, now),
            breaches=self.breaches,
            datapoints=self.datapoints,
            missing=self.missing,
        )

    def _points(self, metrics: Metrics, now: int) -> Sequence[float | None]:
        """The evaluated data points, newest first."""
        width = self.query.period_min
        points = [
            self.query.value(metrics, range(now - (k + 1) * width, now - k * width), now=now)
            for k in range(self.periods + self.extra_periods)
        ]
        return evaluated_points(points, self.periods)


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}


def simulated(alarm: Resource, *, extra_periods: int = 0) -> SimulatedAlarm:
    threshold, compare = float(alarm["Threshold"]), COMPARISONS[alarm["ComparisonOperator"]]
    periods = int(alarm["EvaluationPeriods"])
    return SimulatedAlarm(
        query=_query(alarm),
        periods=periods,
        datapoints=int(alarm.get("DatapointsToAlarm", periods)),
        breaches=lambda value: compare(value, threshold),
        missing=alarm.get("TreatMissingData", "missing"),
        extra_periods=extra_periods,
    )


def _query(alarm: Resource) -> Query:
    if "MetricName" in alarm.body["Properties"]:
        statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        return Query({"m": (alarm["MetricName"], statistic)}, "m", alarm["Period"] // 60)
    statistics = {
        query["Id"]: (query["MetricStat"]["Metric"]["MetricName"], query["MetricStat"]["Stat"])
        for query in alarm["Metrics"]
        if "MetricStat" in query
    }
    (expression,) = (query["Expression"] for query in alarm["Metrics"] if query.get("ReturnData"))
    (period,) = {
        query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query
    }
    return Query(statistics, expression, period // 60)


def high_alarm(policy: Resource) -> SimulatedAlarm:
    """The alarm by which target tracking adds capacity. It has no "M out of N".

    Source: "Target tracking scaling policies", Amazon ECS Developer Guide.
    """
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    queries = configuration["CustomizedMetricSpecification"]["Metrics"]
    statistics = {
        query["Id"]: (query["MetricStat"]["Metric"]["MetricName"], query["MetricStat"]["Stat"])
        for query in queries
        if "MetricStat" in query
    }
    (expression,) = (query["Expression"] for query in queries if query["ReturnData"])
    target = float(configuration["TargetValue"])
    return SimulatedAlarm(
        query=Query(statistics, expression, 1),
        periods=3,
        datapoints=3,
        breaches=lambda value: value > target,
        missing="missing",
        extra_periods=max(EXTRA_PERIODS),
    )


AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": fmean,
    "p95": max,
    "p99": max,
}


def _aggregate(values: Sequence[float], statistic: str) -> float | None:
    return AGGREGATES[statistic](values) if values else None


# ── Metric math ───────────────────────────────────────────────────────────────────────────────

OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Eq: operator.eq,
}


def evaluate(expression: str, **series: float | None) -> float | None:
    """Evaluate metric math for one period. None is a missing data point, as is a division by 0."""
    value = _evaluate(_parse(expression), series)
    return None if value is None else float(value)


def _parse(expression: str) -> ast.expr:
    """The expressions are valid Python, except for ``AND``."""
    return ast.parse(expression.replace(" AND ", " and "), mode="eval").body


def _evaluate(node: ast.AST, series: Mapping[str, float | None]) -> Any:
    def value(part: ast.AST) -> Any:
        return _evaluate(part, series)

    match node:
        case ast.Constant(value=number):
            result = number
        case ast.Name(id=name):
            result = series[name]
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, default]):
            result = value(default) if value(filled) is None else value(filled)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            chosen = value(condition)
            result = None if chosen is None else value(then if chosen else otherwise)
        case ast.BoolOp(op=ast.And(), values=parts):
            truths = list(map(value, parts))
            result = None if None in truths else all(truths)
        case ast.BinOp(left=left, op=op, right=right):
            result = _combine(op, value(left), value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            result = _combine(op, value(left), value(right))
        case _:
            raise NotImplementedError(ast.dump(node))
    return result


def _combine(op: ast.AST, left: float | None, right: float | None) -> Any:
    if left is None or right is None or (isinstance(op, ast.Div) and right == 0):
        return None
    return OPERATORS[type(op)](left, right)


def filled_metrics(query: Query) -> set[str]:
    """The metrics whose missing values the expression fills."""
    return {
        query.statistics[call.args[0].id][0]
        for call in ast.walk(_parse(query.expression))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "FILL"
        and isinstance(call.args[0], ast.Name)
    }
