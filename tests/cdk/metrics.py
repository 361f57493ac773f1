"""The metrics and expressions that a deployment's alarms and dashboard read."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdk.template.templates import Resource, Templates


@dataclass(frozen=True)
class ReadMetric:
    namespace: str
    name: str
    dimensions: Mapping[str, Any]


def metrics_in(deployment: Templates) -> Iterator[ReadMetric]:
    for alarm in deployment.all("CloudWatch::Alarm"):
        yield from metrics_of(alarm)
    for widget in widgets(deployment):
        for row in widget["properties"].get("metrics", []):
            if isinstance(row[0], str):
                namespace, name, *rest = (part for part in row if not isinstance(part, dict))
                yield ReadMetric(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))


def metrics_of(alarm: Resource) -> Iterator[ReadMetric]:
    """The metrics that an alarm reads, directly or in metric math."""
    single = (
        [{"MetricStat": {"Metric": alarm.body["Properties"]}}] if alarm.get("MetricName") else []
    )
    for query in alarm.get("Metrics", single):
        if "MetricStat" in query:
            metric = query["MetricStat"]["Metric"]
            yield ReadMetric(
                metric["Namespace"],
                metric["MetricName"],
                {d["Name"]: d["Value"] for d in metric["Dimensions"]},
            )


def widgets(deployment: Templates) -> list[dict[str, Any]]:
    """The dashboard's widgets, with each reference replaced by the word `reference`."""
    body = deployment.one("CloudWatch::Dashboard")["DashboardBody"]
    parts = body["Fn::Join"][1]
    text = "".join(part if isinstance(part, str) else "reference" for part in parts)
    found: list[dict[str, Any]] = json.loads(text)["widgets"]
    return found
