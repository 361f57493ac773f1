"""The tables of the documentation, as Markdown."""

from collections.abc import Iterator, Mapping

from cdk.changes import RULES
from cdk.constructs.alarm import LATEST_METRIC_MIN
from cdk.settings import Settings
from cdk.template.templates import Resource, Templates
from cost.idle_month import CostLine, idle_month
from cost.prices import Prices
from docs.generator.markdown import markdown_table


def settings_table(settings: Mapping[str, Settings]) -> str:
    """Every setting: its description, whether it can change, and its value in each profile."""
    rows = [
        [
            f"`{name}`",
            " ".join((field.description or "").split()),
            RULES[name].summary if name in RULES else "yes",
            *(_shown(getattr(each, name)) for each in settings.values()),
        ]
        for name, field in Settings.model_fields.items()
    ]
    return markdown_table(["setting", "description", "can change", *settings], rows)


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case tuple():
            return ", ".join(map(str, value))
        case str() if value.startswith("arn:"):
            return "*required*"
    return str(value)


def profiles_table(deployments: Mapping[str, Templates]) -> str:
    """The profiles side by side."""
    rows = {
        "egress": [_egress(each) for each in deployments.values()],
        "API": [_fleet(each, "api") for each in deployments.values()],
        "workers": [_fleet(each, "worker") for each in deployments.values()],
        "HTTPS": [_yes(each.settings.has_https) for each in deployments.values()],
        "data outlives the stack": [
            _yes(not each.settings.disposable) for each in deployments.values()
        ],
        "alarms": [
            str(len(each.all("CloudWatch::Alarm", stack="observability")))
            for each in deployments.values()
        ],
        "logs kept": [f"{_log_days(each)} days" for each in deployments.values()],
    }
    return markdown_table(["", *deployments], [[name, *values] for name, values in rows.items()])


def alarms_table(deployment: Templates) -> str:
    """The alarms: what each reads, when it goes off, and after how long at the latest."""
    rows = [
        [
            alarm.logical_id[:-HASH_LENGTH],
            ", ".join(dict.fromkeys(_metric_names(alarm))),
            _condition(alarm),
            f"{_latest_min(alarm)} min",
        ]
        for alarm in deployment.all("CloudWatch::Alarm", stack="observability")
    ]
    return markdown_table(["alarm", "metrics", "goes off after", "at the latest after"], rows)


HASH_LENGTH = 8
"""Characters that the CDK appends to a logical ID."""


def _metric_names(alarm: Resource) -> Iterator[str]:
    if alarm.get("MetricName"):
        yield alarm["MetricName"]
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            yield query["MetricStat"]["Metric"]["MetricName"]


def _period_min(alarm: Resource) -> int:
    (period_s,) = {alarm.get("Period")} - {None} or {
        query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query
    }
    return int(period_s) // 60


def _condition(alarm: Resource) -> str:
    periods, width = alarm["EvaluationPeriods"], _period_min(alarm)
    unit = "minutes" if width == 1 else f"periods of {width} minutes"
    if alarm["TreatMissingData"] == "missing":
        return f"{periods} {unit} without data"
    return f"{alarm['DatapointsToAlarm']} of {periods} {unit}"


def _latest_min(alarm: Resource) -> int:
    datapoints = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    return int(datapoints) * _period_min(alarm) + LATEST_METRIC_MIN


def _egress(deployment: Templates) -> str:
    gateways = len(deployment.all("EC2::NatGateway"))
    endpoints = len(deployment.all("EC2::VPCEndpoint", VpcEndpointType="Interface"))
    ways = [f"{gateways} NAT gateways" if gateways else "public addresses, no NAT"]
    if endpoints:
        ways.append(f"{endpoints} interface endpoints")
    return ", ".join(ways)


def _fleet(deployment: Templates, service: str) -> str:
    task = deployment.tasks[service]
    target = deployment.one("ApplicationAutoScaling::ScalableTarget", stack=service)
    size = f"{int(task['Cpu']) / 1_024:g} vCPU, {int(task['Memory']) / 1_024:g} GB"
    return f"{target['MinCapacity']} to {target['MaxCapacity']} of {size}"


def _log_days(deployment: Templates) -> int:
    (days,) = {group["RetentionInDays"] for group in deployment.all("Logs::LogGroup")}
    return int(days)


def _yes(value: object) -> str:
    return "yes" if value else "no"


def cost_table(deployments: Mapping[str, Templates], prices: Prices) -> str:
    """The cost of an idle month by item, and the total."""
    bills = {profile: idle_month(each, prices) for profile, each in deployments.items()}
    items = list(dict.fromkeys(line.item for bill in bills.values() for line in bill))
    rows = [
        [
            item,
            *(
                next((_priced(line) for line in bill if line.item == item), "-")
                for bill in bills.values()
            ),
        ]
        for item in items
    ]
    totals = [f"**{sum(line.usd for line in bill):.0f}**" for bill in bills.values()]
    return markdown_table(
        [f"USD a month, {prices.region}, {prices.as_of}", *bills], [*rows, ["**total**", *totals]]
    )


def _priced(line: CostLine) -> str:
    return f"{line.usd:.2f} ({line.quantity})"
