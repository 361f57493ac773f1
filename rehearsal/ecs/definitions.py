"""The deployed task definitions and services, read from the ECS API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.failure import RehearsalFailed

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

FARGATE_STOP_TIMEOUT_S = 30
"""Time from SIGTERM to SIGKILL if the container definition sets none ("ContainerDefinition", Amazon
ECS API Reference)."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A container health check. `command` is in exec form."""

    command: Sequence[str]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A task definition with one container."""

    arn: str
    family: str
    repository: str
    image_tag: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str | None
    read_only_root: bool
    init_process: bool
    dropped_capabilities: Sequence[str]
    writable_paths: Sequence[str]
    health_check: HealthCheck | None
    stop_timeout_s: int
    port: int | None
    cpu_units: int
    memory_mib: int
    task_role_arn: str
    execution_role_arn: str
    log_group: str

    @property
    def task_role(self) -> str:
        """The name of the role."""
        return self.task_role_arn.rpartition("/")[2]

    @property
    def execution_role(self) -> str:
        """The name of the role."""
        return self.execution_role_arn.rpartition("/")[2]

    def __str__(self) -> str:
        dropped = ", ".join(self.dropped_capabilities) or "none"
        health = " ".join(self.health_check.command) if self.health_check else "none"
        return (
            f"{self.family}: {self.cpu_units} CPU units, {self.memory_mib} MiB, user {self.user}, "
            f"{'read-only' if self.read_only_root else 'writable'} root, capabilities dropped: "
            f"{dropped}, stop timeout {self.stop_timeout_s} s, health check: {health}"
        )


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """`target_group_arn` and `target_port` are None for a service without a load balancer."""

    name: str
    cluster: str
    task_definition_arn: str
    desired_count: int
    min_healthy_percent: int
    max_percent: int
    target_group_arn: str | None
    target_port: int | None

    @property
    def min_healthy_tasks(self) -> int:
        """Healthy tasks that must remain during a deployment, rounded up."""
        return -(-self.desired_count * self.min_healthy_percent // 100)

    @property
    def max_running_tasks(self) -> int:
        """Tasks that may run during a deployment, rounded down."""
        return self.desired_count * self.max_percent // 100


def read_task_definition(ecs: "ECSClient", arn: str) -> TaskDefinition:
    """Read a task definition. Raises ``RehearsalFailed`` if it uses unsupported features."""
    described: Any = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    family = described["family"]
    if len(described["containerDefinitions"]) != 1:
        raise RehearsalFailed(f"The rehearsal supports one container per task, unlike {family}.")
    (container,) = described["containerDefinitions"]
    if container.get("secrets") or container.get("entryPoint"):
        raise RehearsalFailed(
            f"The rehearsal does not support secrets or entry points, which {family} has."
        )
    linux = container.get("linuxParameters", {})
    repository, _, tag = container["image"].rpartition(":")
    ports = [mapping["containerPort"] for mapping in container["portMappings"]]
    return TaskDefinition(
        arn=arn,
        family=family,
        repository=repository.partition("/")[2],
        image_tag=tag,
        command=container.get("command", []),
        environment={pair["name"]: pair["value"] for pair in container["environment"]},
        user=container.get("user"),
        read_only_root=container.get("readonlyRootFilesystem", False),
        init_process=linux.get("initProcessEnabled", False),
        dropped_capabilities=linux.get("capabilities", {}).get("drop", []),
        writable_paths=[
            mount["containerPath"]
            for mount in container["mountPoints"]
            if not mount.get("readOnly", False)
        ],
        health_check=_health_check(container.get("healthCheck")),
        stop_timeout_s=container.get("stopTimeout", FARGATE_STOP_TIMEOUT_S),
        port=ports[0] if ports else None,
        cpu_units=int(described["cpu"]),
        memory_mib=int(described["memory"]),
        task_role_arn=described["taskRoleArn"],
        execution_role_arn=described["executionRoleArn"],
        log_group=container["logConfiguration"]["options"]["awslogs-group"],
    )


def _health_check(described: Mapping[str, Any] | None) -> HealthCheck | None:
    if described is None:
        return None
    kind, *command = described["command"]
    return HealthCheck(
        command=command if kind == "CMD" else ["/bin/sh", "-c", *command],
        interval_s=described.get("interval", 30),
        timeout_s=described.get("timeout", 5),
        retries=described.get("retries", 3),
        start_period_s=described.get("startPeriod", 0),
    )


def read_services(ecs: "ECSClient") -> Sequence[ServiceDefinition]:
    """Read the services of all clusters, without deleted ones."""
    services = []
    for cluster in ecs.list_clusters()["clusterArns"]:
        if arns := ecs.list_services(cluster=cluster)["serviceArns"]:
            described: Any = ecs.describe_services(cluster=cluster, services=arns)["services"]
            services += [
                _service(each, cluster) for each in described if each["status"] == "ACTIVE"
            ]
    return services


def _service(described: Mapping[str, Any], cluster: str) -> ServiceDefinition:
    deployment = described["deploymentConfiguration"]
    (load_balancer,) = described["loadBalancers"] or [{}]
    return ServiceDefinition(
        name=described["serviceName"],
        cluster=cluster,
        task_definition_arn=described["taskDefinition"],
        desired_count=described["desiredCount"],
        min_healthy_percent=deployment.get("minimumHealthyPercent", 100),
        max_percent=deployment.get("maximumPercent", 200),
        target_group_arn=load_balancer.get("targetGroupArn"),
        target_port=load_balancer.get("containerPort"),
    )
