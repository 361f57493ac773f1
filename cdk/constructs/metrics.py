"""The metrics that scaling, alarms and the dashboard share."""

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import Metric
from aws_cdk.aws_ecs import FargateService

NAMESPACE = "Taskfleet"
"""Namespace of the metrics that the services log in CloudWatch's embedded metric format."""

MINUTE = Duration.minutes(1)


def service_metric(
    name: str, *, service: str, environment: str, statistic: str = "Sum", **dimensions: str
) -> Metric:
    """A metric that the services write. `service` is ``api``, ``worker`` or ``reconciler``."""
    return Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"Service": service, "Environment": environment, **dimensions},
        statistic=statistic,
        period=MINUTE,
    )


def running_tasks(service: FargateService, *, statistic: str = "Average") -> Metric:
    """Number of running containers, from Container Insights."""
    return Metric(
        namespace="ECS/ContainerInsights",
        metric_name="RunningTaskCount",
        dimensions_map={
            "ClusterName": service.cluster.cluster_name,
            "ServiceName": service.service_name,
        },
        statistic=statistic,
        period=MINUTE,
    )
