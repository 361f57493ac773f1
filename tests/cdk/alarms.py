"""The alarms of a deployment by name, and whether one sends a mail."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from cdk.template.templates import Resource, Templates
from simulation.cloudwatch import ALARM, INSUFFICIENT_DATA, OK
from tests.cdk.metrics import metrics_of

ALARMS = {
    "dead letters": {"ApproximateNumberOfMessagesVisible"},
    "late first claim": {"FirstClaimWait"},
    "stalled queue": {"ApproximateNumberOfMessagesVisible", "NumberOfMessagesDeleted"},
    "API errors": {"HTTPCode_Target_5XX_Count", "RequestCount"},
    "load balancer errors": {"HTTPCode_ELB_5XX_Count", "RequestCount"},
    "API down": {"HealthyHostCount"},
    "API latency": {"TargetResponseTime"},
    "maximum workers": {"RunningTaskCount"},
    "failing reconciler": {"InvocationAttemptCount", "ReconcileRuns"},
    "overdue tasks": {"OpenTasksOverdue"},
}
"""The metrics of each alarm on values."""

MISSING = {
    "API missing": {"HealthyHostCount"},
    "missing schedule": {"InvocationAttemptCount"},
}
"""The metric of each alarm that goes off when the metric stops."""

ACTIONS: Mapping[str, str] = {
    ALARM: "AlarmActions",
    OK: "OKActions",
    INSUFFICIENT_DATA: "InsufficientDataActions",
}


def alarm(deployment: Templates, name: str) -> Resource:
    metrics = ALARMS[name] if name in ALARMS else MISSING[name]
    (found,) = (
        alarm
        for alarm in deployment.all("CloudWatch::Alarm", stack="observability")
        if {metric.name for metric in metrics_of(alarm)} == metrics
        and (alarm["TreatMissingData"] == "missing") == (name in MISSING)
    )
    return found


def mails(found: Resource, states: Sequence[str], *, subscription: Resource) -> list[str]:
    """The new states that are mailed. An alarm is created in INSUFFICIENT_DATA."""
    return [
        new
        for old, new in pairwise([INSUFFICIENT_DATA, *states])
        if old != new
        and found.get(ACTIONS[new])
        and passes(subscription["FilterPolicy"], {"OldStateValue": old, "NewStateValue": new})
    ]


def passes(policy: Mapping[str, object], message: Mapping[str, str]) -> bool:
    """Whether a filter policy of Amazon SNS lets the message through."""
    match policy:
        case {"$or": list(policies)}:
            return any(passes(each, message) for each in policies)
    return all(
        isinstance(values, list) and message.get(name) in values for name, values in policy.items()
    )
