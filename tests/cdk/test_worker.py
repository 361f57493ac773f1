"""The worker service, its scaling, and the reconciler."""

from typing import Any

import pytest

from cdk.settings import FARGATE_START_S, FROM_ZERO_MEMORY_S
from cdk.template.templates import Resource, Templates
from tests.cdk.cloudwatch import evaluate


def policies(deployment: Templates) -> dict[str, Resource]:
    """The workers' scaling policies, by name. The step policy has none."""
    return {
        policy["PolicyName"] if policy["PolicyType"] != "StepScaling" else "from-zero": policy
        for policy in deployment.all("ApplicationAutoScaling::ScalingPolicy", stack="worker")
    }


def tracking(deployment: Templates, name: str = "backlog-per-worker") -> dict[str, Any]:
    configuration: dict[str, Any] = policies(deployment)[name][
        "TargetTrackingScalingPolicyConfiguration"
    ]
    return configuration


def from_zero_alarm(deployment: Templates) -> Resource:
    step = policies(deployment)["from-zero"]
    return deployment.one(
        "CloudWatch::Alarm", stack="worker", AlarmActions=[{"Ref": step.logical_id}]
    )


def test_a_deployment_does_not_change_the_number_of_containers(deployment: Templates) -> None:
    for service in deployment.all("ECS::Service"):
        assert service.get("DesiredCount") is None


def test_workers_scale_between_their_minimum_and_maximum(deployment: Templates) -> None:
    target = deployment.one("ApplicationAutoScaling::ScalableTarget", stack="worker")
    service = deployment.one("ECS::Service", stack="worker")

    assert target["MinCapacity"] == deployment.settings.worker_min_tasks
    assert target["MaxCapacity"] == deployment.settings.worker_max_tasks
    assert service in deployment.targets(target["ResourceId"], stack="worker")


def test_scaling_reads_the_metrics_of_its_queue_and_service(deployment: Templates) -> None:
    service = deployment.one("ECS::Service", stack="worker")
    metrics = tracking(deployment)["CustomizedMetricSpecification"]["Metrics"]
    stats = {m["Id"]: m["MetricStat"]["Metric"] for m in metrics if "MetricStat" in m}

    assert {name: stat["MetricName"] for name, stat in stats.items()} == {
        "visible": "ApproximateNumberOfMessagesVisible",
        "inflight": "ApproximateNumberOfMessagesNotVisible",
        "running": "RunningTaskCount",
    }
    for name in ("visible", "inflight"):
        assert list(deployment.targets(stats[name]["Dimensions"], stack="worker")) == [
            deployment.queue
        ]
    assert service in deployment.targets(stats["running"]["Dimensions"], stack="worker")


def test_container_insights_counts_running_tasks(deployment: Templates) -> None:
    settings = deployment.one("ECS::Cluster")["ClusterSettings"]

    assert {"Name": "containerInsights", "Value": "enabled"} in settings


def test_target_tracking_keeps_the_backlog_per_worker(deployment: Templates) -> None:
    configuration = tracking(deployment)
    (expression,) = (
        m["Expression"]
        for m in configuration["CustomizedMetricSpecification"]["Metrics"]
        if m["ReturnData"]
    )

    assert configuration["TargetValue"] == deployment.settings.backlog_per_worker
    assert evaluate(expression, visible=90, inflight=30, running=4) == 30
    for missing in ("visible", "inflight", "running"):
        series = {"visible": 90, "inflight": 30, "running": 4, missing: None}
        assert evaluate(expression, **series) is None


def test_workers_that_keep_up_are_not_scaled_in(deployment: Templates) -> None:
    configuration = tracking(deployment, "cpu")

    metric = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "ECSServiceAverageCPUUtilization"
    assert configuration["TargetValue"] == 70


@pytest.mark.parametrize("policy", ["backlog-per-worker", "cpu"])
def test_scaling_in_is_slow(deployment: Templates, policy: str) -> None:
    configuration = tracking(deployment, policy)

    assert configuration["ScaleInCooldown"] == deployment.settings.worker_scale_in_cooldown_s
    assert configuration["ScaleInCooldown"] >= 5 * configuration["ScaleOutCooldown"]
    assert configuration.get("DisableScaleIn") in {None, False}


def test_visible_messages_start_the_first_workers(dev: Templates) -> None:
    alarm = from_zero_alarm(dev)
    (expression,) = (m["Expression"] for m in alarm["Metrics"] if m["ReturnData"])
    (step,) = policies(dev)["from-zero"]["StepScalingPolicyConfiguration"]["StepAdjustments"]

    def triggers(**series: float | None) -> bool:
        value = evaluate(expression, **series)
        return value is not None and value >= float(alarm["Threshold"])

    assert triggers(visible=1, running=0)
    assert triggers(visible=1, running=None)
    assert not triggers(visible=0, running=0)
    assert not triggers(visible=500, running=1)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert step["ScalingAdjustment"] == dev.settings.worker_from_zero_tasks
    assert step["MetricIntervalLowerBound"] == 0


def test_the_step_from_zero_counts_only_visible_messages(dev: Templates) -> None:
    names = {
        m["MetricStat"]["Metric"]["MetricName"]
        for m in from_zero_alarm(dev)["Metrics"]
        if "MetricStat" in m
    }

    assert names == {"ApproximateNumberOfMessagesVisible", "RunningTaskCount"}


def test_the_step_from_zero_waits_until_its_containers_run(dev: Templates) -> None:
    step = policies(dev)["from-zero"]["StepScalingPolicyConfiguration"]

    assert step["AdjustmentType"] == "ChangeInCapacity"
    assert step["Cooldown"] > FARGATE_START_S + FROM_ZERO_MEMORY_S


def test_only_a_minimum_of_zero_has_a_step_from_zero(
    deployments: dict[str, Templates],
) -> None:
    for deployment in deployments.values():
        assert ("from-zero" in policies(deployment)) == (deployment.settings.worker_min_tasks == 0)


def test_workers_run_on_spot_beyond_an_on_demand_base(deployment: Templates) -> None:
    service = deployment.one("ECS::Service", stack="worker")
    providers = {s["CapacityProvider"]: s for s in service["CapacityProviderStrategy"]}
    settings = deployment.settings

    assert providers["FARGATE"]["Base"] == settings.worker_on_demand_base
    assert providers["FARGATE"]["Weight"] == 100 - settings.worker_spot_percent
    assert providers["FARGATE_SPOT"]["Weight"] == settings.worker_spot_percent


def test_the_cluster_offers_on_demand_and_spot(deployment: Templates) -> None:
    association = deployment.one("ECS::ClusterCapacityProviderAssociations")

    assert set(association["CapacityProviders"]) == {"FARGATE", "FARGATE_SPOT"}


def test_a_worker_can_complete_an_attempt_before_it_is_killed(deployment: Templates) -> None:
    container = deployment.container("worker")

    assert container["StopTimeout"] == 120
    assert container["StopTimeout"] > deployment.settings.processing_budget_s


def test_a_failed_deployment_of_the_worker_rolls_back(deployment: Templates) -> None:
    service = deployment.one("ECS::Service", stack="worker")

    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {
        "Enable": True,
        "Rollback": True,
    }


def test_a_failed_start_of_the_reconciler_is_kept_with_its_error(deployment: Templates) -> None:
    schedule = deployment.one("Scheduler::Schedule")

    arn = schedule["Target"]["DeadLetterConfig"]["Arn"]

    assert deployment.target(arn, stack="worker").type == "AWS::SQS::Queue"


def test_the_first_worker_runs_on_demand(deployment: Templates) -> None:
    """ECS does not fall back from Spot."""
    assert deployment.settings.worker_on_demand_base >= 1


def test_the_reconciler_runs_on_schedule_from_the_workers_image(deployment: Templates) -> None:
    schedule = deployment.one("Scheduler::Schedule")
    worker, reconciler = deployment.container("worker"), deployment.container("reconciler")

    minutes = deployment.settings.reconcile_interval_min
    assert schedule["ScheduleExpression"] == f"rate({minutes} minutes)"
    assert schedule["State"] == "ENABLED"
    assert reconciler["Image"] == worker["Image"]
    assert reconciler["Command"] == ["reconcile"]
