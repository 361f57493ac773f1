"""The cost of an idle month of a deployment.

Quantities come from the synthesized templates and the settings, prices from ``prices.json``. Costs
that depend on use (requests, traffic, storage) and costs below ten cents are left out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cdk.template.templates import Resource, Templates
from cost.prices import Prices
from services.common.config import ApiConfig

HOURS = 730
"""Hours in a month, as AWS calculates prices."""

CLUSTER_METRICS, SERVICE_METRICS, TASK_METRICS, IDLE_SERVICE_METRICS = 13, 15, 10, 5
"""Number of metrics in Container Insights for a cluster, a service with containers, a family of
tasks, and a service without containers.

Source: "Amazon ECS Container Insights metrics", Amazon CloudWatch User Guide, counted by dimension.
"""

RECONCILER_METRICS = 5
"""Metrics that the reconciler writes in every run. The other services write none while idle."""

ALARMS_OF_TARGET_TRACKING = 2
"""One alarm to scale out and one to scale in.

Source: "How target tracking scaling for Application Auto Scaling works", Application Auto Scaling
User Guide.
"""

IDLE_LOG_GB = 1.0
"""An assumption for flow logs, events of Container Insights and the services' logs."""

MIN_CHARGED_RUN_H = 1 / 60
"""Fargate charges at least a minute, and a run of the reconciler is shorter.

Source: https://aws.amazon.com/fargate/pricing/
"""


@dataclass(frozen=True)
class CostLine:
    """One item of the bill."""

    item: str
    quantity: str
    usd: float


def idle_month(deployment: Templates, prices: Prices) -> list[CostLine]:
    """All items that cost something."""
    lines = [
        *_containers(deployment, prices),
        *_network(deployment, prices),
        *_edge_and_secrets(deployment, prices),
        *_observability(deployment, prices),
    ]
    return [line for line in lines if line.usd]


def _containers(deployment: Templates, prices: Prices) -> Iterator[CostLine]:
    settings = deployment.settings
    on_demand, spot = idle_workers(deployment)
    yield CostLine(
        "API containers",
        f"{settings.api_min_tasks} x {_size(deployment.tasks['api'])}",
        settings.api_min_tasks * HOURS * _hour(deployment, prices, "api"),
    )
    worker_hour = _hour(deployment, prices, "worker")
    yield CostLine(
        "workers on demand",
        f"{on_demand} x {_size(deployment.tasks['worker'])}",
        on_demand * HOURS * worker_hour,
    )
    yield CostLine(
        "workers on Spot",
        f"{spot} x {_size(deployment.tasks['worker'])}",
        spot * HOURS * worker_hour * prices.usd("fargate_spot_share"),
    )
    runs = reconciler_runs(deployment)
    yield CostLine(
        "reconciler",
        f"{runs:,.0f} runs of a minute, {_size(deployment.tasks['reconciler'])}",
        runs * MIN_CHARGED_RUN_H * _hour(deployment, prices, "reconciler"),
    )


def idle_workers(deployment: Templates) -> tuple[int, int]:
    """The number of idle workers on demand and on Spot."""
    settings = deployment.settings
    base = min(settings.worker_on_demand_base, settings.worker_min_tasks)
    spot = math.floor((settings.worker_min_tasks - base) * settings.worker_spot_percent / 100)
    return settings.worker_min_tasks - spot, spot


def reconciler_runs(deployment: Templates) -> float:
    """Runs per month."""
    return HOURS * 60 / deployment.settings.reconcile_interval_min


def _network(deployment: Templates, prices: Prices) -> Iterator[CostLine]:
    zones = deployment.settings.availability_zones
    gateways = len(deployment.all("EC2::NatGateway"))
    yield CostLine("load balancer", "1, without traffic", HOURS * prices.usd("load_balancer_hour"))
    yield CostLine("NAT gateways", f"{gateways}", gateways * HOURS * prices.usd("nat_gateway_hour"))
    endpoints = deployment.all("EC2::VPCEndpoint", VpcEndpointType="Interface")
    interfaces = sum(len(endpoint["SubnetIds"]) for endpoint in endpoints)
    yield CostLine(
        "interface endpoints",
        f"{len(endpoints)} in {zones} zones",
        interfaces * HOURS * prices.usd("interface_endpoint_hour"),
    )
    hours = HOURS * (zones + gateways + _public_containers(deployment))
    yield CostLine(
        "public IPv4 addresses",
        f"{hours / HOURS:.1f} on average",
        hours * prices.usd("public_ipv4_hour"),
    )


def _public_containers(deployment: Templates) -> float:
    """Average number of containers with a public address."""
    service = deployment.one("ECS::Service", stack="api")
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    if network["AssignPublicIp"] != "ENABLED":
        return 0
    settings = deployment.settings
    reconciler = reconciler_runs(deployment) * MIN_CHARGED_RUN_H / HOURS
    return settings.api_min_tasks + settings.worker_min_tasks + reconciler


def _edge_and_secrets(deployment: Templates, prices: Prices) -> Iterator[CostLine]:
    rules = len(deployment.one("WAFv2::WebACL")["Rules"])
    yield CostLine(
        "firewall",
        f"1 with {rules} rules",
        prices.usd("web_acl_month") + rules * prices.usd("web_acl_rule_month"),
    )
    secrets = len(deployment.all("SecretsManager::Secret"))
    yield CostLine("secrets", f"{secrets}", secrets * prices.usd("secret_month"))
    reads = _key_refreshes(deployment)
    yield CostLine(
        "secret reads",
        f"{reads:,.0f} refreshes of the API keys",
        reads / 10_000 * prices.usd("secret_read_10000"),
    )


def _key_refreshes(deployment: Templates) -> float:
    """Reads per month, by each process of each API container."""
    settings = deployment.settings
    processes = settings.api_min_tasks * settings.api_processes
    return processes * HOURS * 3_600 / float(ApiConfig.model_fields["api_keys_refresh_s"].default)


def _observability(deployment: Templates, prices: Prices) -> Iterator[CostLine]:
    insights = _container_insights_metrics(deployment)
    yield CostLine(
        "Container Insights", f"{insights} metrics", insights * prices.usd("metric_month")
    )
    yield CostLine(
        "custom metrics",
        f"{RECONCILER_METRICS} while idle",
        RECONCILER_METRICS * prices.usd("metric_month"),
    )
    alarm_metrics = _alarm_metrics(deployment)
    yield CostLine(
        "alarms", f"on {alarm_metrics} metrics", alarm_metrics * prices.usd("alarm_metric_month")
    )
    dashboards = len(deployment.all("CloudWatch::Dashboard"))
    yield CostLine("dashboard", f"{dashboards}", dashboards * prices.usd("dashboard_month"))
    yield CostLine("logs", f"{IDLE_LOG_GB:g} GB, assumed", IDLE_LOG_GB * prices.usd("log_gb"))


def _container_insights_metrics(deployment: Templates) -> int:
    families = 2  # the API and the reconciler
    metrics = CLUSTER_METRICS + SERVICE_METRICS + families * TASK_METRICS
    if deployment.settings.worker_min_tasks:
        return metrics + SERVICE_METRICS + TASK_METRICS
    return metrics + IDLE_SERVICE_METRICS


def _alarm_metrics(deployment: Templates) -> int:
    """Metrics that alarms read, including the alarms of scaling. Each reading counts."""
    own = sum(
        sum("MetricStat" in query for query in alarm.get("Metrics", [])) or 1
        for alarm in deployment.all("CloudWatch::Alarm")
    )
    tracking = sum(
        _tracked_metrics(policy)
        for policy in deployment.all(
            "ApplicationAutoScaling::ScalingPolicy", PolicyType="TargetTrackingScaling"
        )
    )
    return own + ALARMS_OF_TARGET_TRACKING * tracking


def _tracked_metrics(policy: Resource) -> int:
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    specification = configuration.get("CustomizedMetricSpecification", {})
    return sum("MetricStat" in query for query in specification.get("Metrics", [])) or 1


def _hour(deployment: Templates, prices: Prices, service: str) -> float:
    """Price per hour of one container on demand."""
    task, architecture = deployment.tasks[service], deployment.settings.cpu_architecture
    vcpu = prices.usd("fargate_vcpu_hour", architecture)
    gigabyte = prices.usd("fargate_gb_hour", architecture)
    return int(task["Cpu"]) / 1_024 * vcpu + int(task["Memory"]) / 1_024 * gigabyte


def _size(task: Resource) -> str:
    return f"{int(task['Cpu']) / 1_024:g} vCPU, {int(task['Memory']) / 1_024:g} GB"
