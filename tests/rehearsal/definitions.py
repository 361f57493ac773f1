"""A task definition and a service for tests to run."""

from dataclasses import replace

from rehearsal.ecs.definitions import HealthCheck, ServiceDefinition, TaskDefinition

VERSION_1 = TaskDefinition(
    arn="worker:1",
    family="worker",
    repository="images",
    image_tag="tag",
    command=[],
    environment={},
    user=None,
    read_only_root=True,
    init_process=True,
    dropped_capabilities=["ALL"],
    writable_paths=["/tmp"],  # noqa: S108 - inside the container
    health_check=HealthCheck(["check"], 0.001, 1, retries=2, start_period_s=0),
    stop_timeout_s=60,
    port=None,
    cpu_units=256,
    memory_mib=512,
    task_role_arn="role",
    execution_role_arn="role",
    log_group="logs",
)
VERSION_2 = replace(VERSION_1, arn="worker:2")

SERVICE = ServiceDefinition(
    name="worker",
    cluster="cluster",
    task_definition_arn=VERSION_1.arn,
    desired_count=2,
    min_healthy_percent=100,
    max_percent=200,
    target_group_arn=None,
    target_port=None,
)
