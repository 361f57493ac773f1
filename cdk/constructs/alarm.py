"""An alarm that may read late metrics."""

from math import ceil

from aws_cdk.aws_cloudwatch import Alarm, ComparisonOperator, IMetric, TreatMissingData
from constructs import Construct

LATEST_METRIC_MIN = 3
"""Minutes after which a metric has arrived. SQS publishes by the minute and about one minute late;
ALB, ECS and logs with embedded metrics take one to three. An assumption: AWS gives no limit."""


class LateTolerantAlarm(Alarm):
    """Goes off when `datapoints` periods breach the threshold, even if the newest are missing.

    The alarm looks back further by as many periods as may still be missing ("M out of N"). A
    missing data point counts as good, because it may only be late.

    Source: "Configuring how CloudWatch alarms treat missing data", Amazon CloudWatch User Guide.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        metric: IMetric,
        threshold: float,
        datapoints: int,
        period_min: int,
        description: str,
        comparison: ComparisonOperator = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            metric=metric,
            threshold=threshold,
            datapoints_to_alarm=datapoints,
            evaluation_periods=evaluation_periods(datapoints, period_min=period_min),
            comparison_operator=comparison,
            treat_missing_data=TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        )


class MissingMetricAlarm(Alarm):
    """Reports by INSUFFICIENT_DATA that a metric stopped. Never goes to ALARM.

    A new alarm is in this state already, so it reports nothing until the metric has arrived once.
    An alarm that treats missing data as bad would go off when it is created.

    `metric` must not be negative.

    Source: "PutMetricAlarm", Amazon CloudWatch API Reference.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        metric: IMetric,
        periods: int,
        description: str,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            metric=metric,
            threshold=0,
            evaluation_periods=periods,
            comparison_operator=ComparisonOperator.LESS_THAN_THRESHOLD,
            treat_missing_data=TreatMissingData.MISSING,
            alarm_description=description,
        )


def evaluation_periods(datapoints: int, *, period_min: int) -> int:
    """The N of "M out of N": `datapoints`, and the newest periods that may still be missing."""
    return datapoints + ceil(LATEST_METRIC_MIN / period_min)
