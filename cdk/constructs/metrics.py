"""The metrics that scaling, alarms and the dashboard share."""

from aws_cdk import Duration
from aws_cdk.aws_cloudwatch import Metric
from aws_cdk.aws_ecs import FargateService
from aws_cdk.aws_elasticloadbalancingv2 import ApplicationLoadBalancer, ApplicationTargetGroup

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


def healthy_hosts(
    load_balancer: ApplicationLoadBalancer, target_group: ApplicationTargetGroup
) -> Metric:
    """The largest number of healthy containers that a zone of the load balancer sees.

    The CDK's own metric names the load balancer by the ARN of a listener, which a new certificate
    replaces.
    """
    return Metric(
        namespace="AWS/ApplicationELB",
        metric_name="HealthyHostCount",
        dimensions_map={
            "LoadBalancer": load_balancer.load_balancer_full_name,
            "TargetGroup": target_group.target_group_full_name,
        },
        statistic="Maximum",
        period=MINUTE,
    )
