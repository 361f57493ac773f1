"""How long data and logs are kept."""

from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import LogGroup, RetentionDays
from constructs import Construct

from cdk.settings import Settings

LOG_RETENTION: Mapping[int, RetentionDays] = {
    1: RetentionDays.ONE_DAY,
    3: RetentionDays.THREE_DAYS,
    7: RetentionDays.ONE_WEEK,
    14: RetentionDays.TWO_WEEKS,
    30: RetentionDays.ONE_MONTH,
    60: RetentionDays.TWO_MONTHS,
    90: RetentionDays.THREE_MONTHS,
    180: RetentionDays.SIX_MONTHS,
    365: RetentionDays.ONE_YEAR,
}


def removal_policy(settings: Settings) -> RemovalPolicy:
    """Whether data is deleted with its stack.

    Retained data is deleted all the same if its creation is rolled back: it is empty then, and its
    name would make the next deployment fail.
    """
    return (
        RemovalPolicy.DESTROY if settings.disposable else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    )


def log_group(
    scope: Construct, construct_id: str, settings: Settings, *, name: str | None = None
) -> LogGroup:
    """A log group with the retention of the settings. Only some AWS services require a `name`."""
    return LogGroup(
        scope,
        construct_id,
        log_group_name=name,
        retention=LOG_RETENTION[settings.log_retention_days],
        removal_policy=removal_policy(settings),
    )
