"""The alarms, their topic and the dashboard."""

import click
import pytest

from cdk.template.templates import Templates
from taskctl.cli import cli
from tests.cdk.alarms import ALARMS, MISSING, alarm
from tests.cdk.metrics import widgets


def titles(deployment: Templates) -> list[str]:
    return [str(widget["properties"].get("title", "")) for widget in widgets(deployment)]


@pytest.mark.parametrize("name", [*ALARMS, *MISSING])
def test_an_alarm_notifies_the_topic_and_describes_what_to_do(
    deployment: Templates, name: str
) -> None:
    found = alarm(deployment, name)
    topic = deployment.one("SNS::Topic")
    actions = ["InsufficientDataActions"] if name in MISSING else ["AlarmActions", "OKActions"]

    for action in actions:
        assert [deployment.target(a, stack="observability") for a in found[action]] == [topic]
    assert len(found["AlarmDescription"]) > 80
    assert f"[{deployment.settings.environment}]" in found["AlarmDescription"]


def test_every_alarm_is_tested_here(deployment: Templates) -> None:
    alarms = deployment.all("CloudWatch::Alarm", stack="observability")

    assert len(alarms) == len(ALARMS) + len(MISSING)


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

    for errors in ("API errors", "load balancer errors"):
        assert alarm(deployment, errors)["Threshold"] == settings.api_error_rate_alarm_percent
    assert alarm(deployment, "API latency")["Threshold"] == settings.api_p99_latency_alarm_s
    assert alarm(deployment, "API latency")["ExtendedStatistic"] == "p99"


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
    assert len(first["properties"]["alarms"]) == len(ALARMS) + len(MISSING)


def test_the_dashboard_shows_percentiles_of_durations(deployment: Templates) -> None:
    for subject in ("Attempt: duration", "API: response time", "Wait for the first claim"):
        (widget,) = (w for w in widgets(deployment) if subject in str(w["properties"].get("title")))
        stats = {row[-1]["stat"] for row in widget["properties"]["metrics"]}
        assert stats == {"p50", "p95", "p99"}
