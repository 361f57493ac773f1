"""What wakes an operator, and what the page shows then."""

from collections.abc import Mapping

import click
import pytest

from cdk.template.templates import Resource, Templates
from taskctl.cli import cli
from tests.cdk.metrics import evaluate, metrics_of, widgets

ALARMS = {
    "dead letters": {"ApproximateNumberOfMessagesVisible"},
    "the first claim is late": {"FirstClaimWait"},
    "the queue stands still": {
        "ApproximateNumberOfMessagesVisible",
        "NumberOfMessagesDeleted",
    },
    "errors": {"HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count", "RequestCount"},
    "the API is down": {"HealthyHostCount"},
    "latency": {"TargetResponseTime"},
    "workers at their maximum": {"RunningTaskCount"},
    "the reconciler is silent": {"ReconcileRuns"},
    "tasks are overdue": {"OpenTasksOverdue"},
}


def alarm(deployment: Templates, name: str) -> Resource:
    (found,) = (
        alarm
        for alarm in deployment.all("CloudWatch::Alarm", stack="observability")
        if {metric.name for metric in metrics_of(alarm)} == ALARMS[name]
    )
    return found


def raised(found: Resource, minutes: Mapping[int, float]) -> bool:
    """Whether these values, of minutes of an hour, raise an alarm of a maximum at any time."""
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
def test_an_alarm_reaches_the_topic_and_says_what_to_do(deployment: Templates, name: str) -> None:
    found = alarm(deployment, name)
    topic = deployment.one("SNS::Topic")

    for actions in ("AlarmActions", "OKActions"):
        assert [deployment.target(a, stack="observability") for a in found[actions]] == [topic]
    assert len(found["AlarmDescription"]) > 80
    assert f"[{deployment.settings.environment}]" in found["AlarmDescription"]


def test_there_is_no_alarm_that_this_list_lacks(deployment: Templates) -> None:
    assert len(deployment.all("CloudWatch::Alarm", stack="observability")) == len(ALARMS)


def test_one_dead_letter_is_enough(deployment: Templates) -> None:
    found = alarm(deployment, "dead letters")
    (queue,) = deployment.targets(found["Dimensions"], stack="observability")

    assert queue == deployment.dead_letter_queue
    assert found["Threshold"] == 1


def test_who_is_called_for_dead_letters_is_told_the_commands_that_reopen_tasks(
    deployment: Templates,
) -> None:
    told = alarm(deployment, "dead letters")["AlarmDescription"]
    commands = [part.split() for part in told.split("`")[1::2]]

    for _, group, name, *options in commands:
        command = cli.commands[group]
        assert isinstance(command, click.Group)
        known = {option for each in command.commands[name].params for option in each.opts}
        assert {option for option in options if option.startswith("--")} <= known
    assert [command[:3] for command in commands] == [
        ["taskctl", "dlq", "list"],
        ["taskctl", "dlq", "show"],
        ["taskctl", "dlq", "redrive"],
    ]
    assert "--code" in commands[-1]


def test_who_is_called_for_overdue_tasks_is_told_the_line_that_names_them(
    deployment: Templates,
) -> None:
    told = alarm(deployment, "tasks are overdue")["AlarmDescription"]

    assert "`task overdue`" in told
    assert "task_id" in told


def test_the_promise_of_a_prompt_start_is_watched(deployment: Templates) -> None:
    found = alarm(deployment, "the first claim is late")

    assert found["Threshold"] == deployment.settings.start_promise_s * 1_000
    assert found["ExtendedStatistic"] == "p95"


def test_a_single_late_start_is_noticed_however_rare_tasks_are(deployment: Templates) -> None:
    found = alarm(deployment, "the first claim is late")
    late_ms = deployment.settings.start_promise_s * 1_000 + 1

    assert raised(found, {7: late_ms})
    assert raised(found, dict.fromkeys(range(0, 60, 15), late_ms))
    assert not raised(found, {7: late_ms / 2})
    assert not raised(found, {})


def test_a_silent_reconciler_is_noticed_by_what_is_missing(deployment: Templates) -> None:
    found = alarm(deployment, "the reconciler is silent")

    assert found["TreatMissingData"] == "breaching"
    assert found["ComparisonOperator"] == "LessThanThreshold"
    assert found["Threshold"] == 1
    assert found["Period"] == 3 * 60 * deployment.settings.reconcile_interval_min


def test_silence_of_everything_else_is_peace(deployment: Templates) -> None:
    quiet = [name for name in ALARMS if name not in {"the reconciler is silent", "the API is down"}]

    assert {alarm(deployment, name)["TreatMissingData"] for name in quiet} == {"notBreaching"}


def test_one_overdue_task_is_enough(deployment: Templates) -> None:
    assert alarm(deployment, "tasks are overdue")["Threshold"] == 1


def test_running_at_the_maximum_is_noticed(deployment: Templates) -> None:
    found = alarm(deployment, "workers at their maximum")

    assert found["Threshold"] == deployment.settings.worker_max_tasks
    assert found["Statistic"] == "Minimum"
    assert deployment.one("ECS::Service", stack="worker") in deployment.targets(
        found["Dimensions"], stack="observability"
    )


def test_slow_and_failing_answers_are_noticed(deployment: Templates) -> None:
    settings = deployment.settings

    assert alarm(deployment, "errors")["Threshold"] == settings.api_error_rate_alarm_percent
    assert alarm(deployment, "latency")["Threshold"] == settings.api_p99_latency_alarm_s
    assert alarm(deployment, "latency")["ExtendedStatistic"] == "p99"


def test_errors_are_noticed_although_no_container_is_left_to_make_them(
    deployment: Templates,
) -> None:
    found = alarm(deployment, "errors")
    (expression,) = (m["Expression"] for m in found["Metrics"] if m["ReturnData"])

    assert evaluate(expression, ours=None, balancers=500, requests=None) == 100
    assert evaluate(expression, ours=None, balancers=90, requests=10) == 100
    assert evaluate(expression, ours=4, balancers=6, requests=1_000) == 1
    assert evaluate(expression, ours=None, balancers=None, requests=1_000) == 0
    assert evaluate(expression, ours=None, balancers=None, requests=None) == 0


def test_an_api_without_a_healthy_container_is_noticed_even_when_none_is_registered(
    deployment: Templates,
) -> None:
    found = alarm(deployment, "the API is down")

    assert found["Threshold"] == 1
    assert found["ComparisonOperator"] == "LessThanThreshold"
    assert found["Statistic"] == "Maximum"
    assert found["TreatMissingData"] == "breaching"
    assert found["EvaluationPeriods"] * found["Period"] <= 120
    assert deployment.one("ElasticLoadBalancingV2::TargetGroup") in deployment.targets(
        found["Dimensions"], stack="observability"
    )


def test_the_topic_is_reached_by_tls_only(deployment: Templates) -> None:
    (statement,) = (
        statement
        for statement in deployment.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    )

    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_alarms_may_use_the_topic(deployment: Templates) -> None:
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


def test_an_operator_is_written_to_where_an_address_is_given(
    deployments: dict[str, Templates],
) -> None:
    for deployment in deployments.values():
        addresses = [s["Endpoint"] for s in deployment.all("SNS::Subscription")]
        wanted = deployment.settings.alarm_email
        assert addresses == ([wanted] if wanted else [])


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
def test_the_page_shows(deployment: Templates, subject: str) -> None:
    assert any(subject in title for title in titles(deployment))


def test_the_page_shows_what_goes_through_nat_where_there_is_nat(
    deployments: dict[str, Templates],
) -> None:
    for deployment in deployments.values():
        shown = any("NAT" in title for title in titles(deployment))
        assert shown == bool(deployment.all("EC2::NatGateway"))


def test_the_page_begins_with_all_alarms(deployment: Templates) -> None:
    first = widgets(deployment)[0]

    assert first["type"] == "alarm"
    assert len(first["properties"]["alarms"]) == len(ALARMS)


def test_durations_are_shown_by_percentile(deployment: Templates) -> None:
    for subject in ("Attempt: duration", "API: response time", "Wait for the first claim"):
        (widget,) = (w for w in widgets(deployment) if subject in str(w["properties"].get("title")))
        stats = {row[-1]["stat"] for row in widget["properties"]["metrics"]}
        assert stats == {"p50", "p95", "p99"}
