"""The alarms, their topic and the dashboard."""

from collections.abc import Mapping

import click
import pytest

from cdk.template.templates import Resource, Templates
from taskctl.cli import cli
from tests.cdk.metrics import evaluate, metrics_of, widgets

ALARMS = {
    "dead letters": {"ApproximateNumberOfMessagesVisible"},
    "late first claim": {"FirstClaimWait"},
    "stalled queue": {
        "ApproximateNumberOfMessagesVisible",
        "NumberOfMessagesDeleted",
    },
    "API errors": {"HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count", "RequestCount"},
    "API down": {"HealthyHostCount"},
    "API latency": {"TargetResponseTime"},
    "maximum workers": {"RunningTaskCount"},
    "silent reconciler": {"ReconcileRuns"},
    "overdue tasks": {"OpenTasksOverdue"},
}


def alarm(deployment: Templates, name: str) -> Resource:
    (found,) = (
        alarm
        for alarm in deployment.all("CloudWatch::Alarm", stack="observability")
        if {metric.name for metric in metrics_of(alarm)} == ALARMS[name]
    )
    return found


def triggers(found: Resource, minutes: Mapping[int, float]) -> bool:
    """Whether these values, given by minute of an hour, ever trigger an alarm on a maximum."""
    width, length = found["Period"] // 60, found["EvaluationPeriods"]
    points = [
        max(
            (value for minute, value in minutes.items() if start <= minute < start + width),
            default=None,
        )
        for start in range(0, 60, width)
    ]
    missing = found["TreatMissingData"] == "breaching"
    breaching = [missing if point is None else point >= found["Threshold"] for point in points]
    return any(
        sum(breaching[start : start + length]) >= found.get("DatapointsToAlarm", length)
        for start in range(len(breaching) - length + 1)
    )


def titles(deployment: Templates) -> list[str]:
    return [str(widget["properties"].get("title", "")) for widget in widgets(deployment)]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_the_topic_and_describes_what_to_do(
    deployment: Templates, name: str
) -> None:
    found = alarm(deployment, name)
    topic = deployment.one("SNS::Topic")

    for actions in ("AlarmActions", "OKActions"):
        assert [deployment.target(a, stack="observability") for a in found[actions]] == [topic]
    assert len(found["AlarmDescription"]) > 80
    assert f"[{deployment.settings.environment}]" in found["AlarmDescription"]


def test_every_alarm_is_tested_here(deployment: Templates) -> None:
    assert len(deployment.all("CloudWatch::Alarm", stack="observability")) == len(ALARMS)


def test_one_dead_letter_triggers_the_alarm(deployment: Templates) -> None:
    found = alarm(deployment, "dead letters")
    (queue,) = deployment.targets(found["Dimensions"], stack="observability")

    assert queue == deployment.dead_letter_queue
    assert found["Threshold"] == 1


def test_the_alarm_for_dead_letters_names_commands_that_exist(
    deployment: Templates,
) -> None:
    description = alarm(deployment, "dead letters")["AlarmDescription"]
    commands = [part.split() for part in description.split("`")[1::2]]

    for _, group, name, *options in commands:
        command = cli.commands[group]
        assert isinstance(command, click.Group)
        known = {option for param in command.commands[name].params for option in param.opts}
        assert {option for option in options if option.startswith("--")} <= known
    assert [command[:3] for command in commands] == [
        ["taskctl", "dlq", "list"],
        ["taskctl", "dlq", "show"],
        ["taskctl", "dlq", "redrive"],
    ]
    assert "--code" in commands[-1]


def test_the_alarm_for_overdue_tasks_names_the_log_event(
    deployment: Templates,
) -> None:
    description = alarm(deployment, "overdue tasks")["AlarmDescription"]

    assert "`task overdue`" in description
    assert "task_id" in description


def test_the_alarm_for_late_claims_watches_the_promised_start(deployment: Templates) -> None:
    found = alarm(deployment, "late first claim")

    assert found["Threshold"] == deployment.settings.start_promise_s * 1_000
    assert found["ExtendedStatistic"] == "p95"


def test_a_single_late_claim_triggers_the_alarm_even_if_tasks_are_rare(
    deployment: Templates,
) -> None:
    found = alarm(deployment, "late first claim")
    late_ms = deployment.settings.start_promise_s * 1_000 + 1

    assert triggers(found, {7: late_ms})
    assert triggers(found, dict.fromkeys(range(0, 60, 15), late_ms))
    assert not triggers(found, {7: late_ms / 2})
    assert not triggers(found, {})


def test_missing_reconciler_runs_trigger_the_alarm(deployment: Templates) -> None:
    found = alarm(deployment, "silent reconciler")

    assert found["TreatMissingData"] == "breaching"
    assert found["ComparisonOperator"] == "LessThanThreshold"
    assert found["Threshold"] == 1
    assert found["Period"] == 3 * 60 * deployment.settings.reconcile_interval_min


def test_missing_data_triggers_no_other_alarm(deployment: Templates) -> None:
    quiet = [name for name in ALARMS if name not in {"silent reconciler", "API down"}]

    assert {alarm(deployment, name)["TreatMissingData"] for name in quiet} == {"notBreaching"}


def test_one_overdue_task_triggers_the_alarm(deployment: Templates) -> None:
    assert alarm(deployment, "overdue tasks")["Threshold"] == 1


def test_running_at_the_maximum_triggers_the_alarm(deployment: Templates) -> None:
    found = alarm(deployment, "maximum workers")

    assert found["Threshold"] == deployment.settings.worker_max_tasks
    assert found["Statistic"] == "Minimum"
    assert deployment.one("ECS::Service", stack="worker") in deployment.targets(
        found["Dimensions"], stack="observability"
    )


def test_slow_and_failed_responses_trigger_their_alarms(deployment: Templates) -> None:
    settings = deployment.settings

    assert alarm(deployment, "API errors")["Threshold"] == settings.api_error_rate_alarm_percent
    assert alarm(deployment, "API latency")["Threshold"] == settings.api_p99_latency_alarm_s
    assert alarm(deployment, "API latency")["ExtendedStatistic"] == "p99"


def test_the_error_rate_counts_errors_of_the_load_balancer_itself(
    deployment: Templates,
) -> None:
    found = alarm(deployment, "API errors")
    (expression,) = (m["Expression"] for m in found["Metrics"] if m["ReturnData"])

    assert evaluate(expression, target_errors=None, balancer_errors=500, requests=None) == 100
    assert evaluate(expression, target_errors=None, balancer_errors=90, requests=10) == 100
    assert evaluate(expression, target_errors=4, balancer_errors=6, requests=1_000) == 1
    assert evaluate(expression, target_errors=None, balancer_errors=None, requests=1_000) == 0
    assert evaluate(expression, target_errors=None, balancer_errors=None, requests=None) == 0


def test_an_api_without_a_healthy_container_triggers_the_alarm_within_two_minutes(
    deployment: Templates,
) -> None:
    found = alarm(deployment, "API down")

    assert found["Threshold"] == 1
    assert found["ComparisonOperator"] == "LessThanThreshold"
    assert found["Statistic"] == "Maximum"
    assert found["TreatMissingData"] == "breaching"
    assert found["EvaluationPeriods"] * found["Period"] <= 120
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup") in deployment.targets(
        found["Dimensions"], stack="observability"
    )


def test_the_topic_denies_plain_text(deployment: Templates) -> None:
    (statement,) = (
        statement
        for statement in deployment.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    )

    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_only_alarms_of_this_account_may_publish_to_the_topic(deployment: Templates) -> None:
    allowed = [
        statement
        for statement in deployment.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]

    assert [(s["Principal"], s["Action"], s["Condition"]) for s in allowed] == [
        (
            {"Service": "cloudwatch.amazonaws.com"},
            "sns:Publish",
            {"StringEquals": {"aws:SourceAccount": "111122223333"}},
        )
    ]


def test_alarms_are_mailed_to_the_given_address(
    deployments: dict[str, Templates],
) -> None:
    for deployment in deployments.values():
        addresses = [s["Endpoint"] for s in deployment.all("SNS::Subscription")]
        address = deployment.settings.alarm_email
        assert addresses == ([address] if address else [])


@pytest.mark.parametrize(
    "subject",
    [
        "Alarms",
        "Tasks per minute",
        "Wait for the first claim",
        "Backlog per worker",
        "running workers",
        "Attempt: duration",
        "API: responses",
        "API: response time",
        "failed permanently",
        "Cost: vCPUs",
        "Cost: table units",
    ],
)
def test_the_dashboard_shows(deployment: Templates, subject: str) -> None:
    assert any(subject in title for title in titles(deployment))


def test_the_dashboard_shows_nat_traffic_if_there_is_a_nat_gateway(
    deployments: dict[str, Templates],
) -> None:
    for deployment in deployments.values():
        shown = any("NAT" in title for title in titles(deployment))
        assert shown == bool(deployment.all("EC2::NatGateway"))


def test_the_dashboard_starts_with_all_alarms(deployment: Templates) -> None:
    first = widgets(deployment)[0]

    assert first["type"] == "alarm"
    assert len(first["properties"]["alarms"]) == len(ALARMS)


def test_the_dashboard_shows_percentiles_of_durations(deployment: Templates) -> None:
    for subject in ("Attempt: duration", "API: response time", "Wait for the first claim"):
        (widget,) = (w for w in widgets(deployment) if subject in str(w["properties"].get("title")))
        stats = {row[-1]["stat"] for row in widget["properties"]["metrics"]}
        assert stats == {"p50", "p95", "p99"}
