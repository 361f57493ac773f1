"""The Fargate task definition of all services."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, Size
from aws_cdk.aws_ecs import (
    AwsLogDriverMode,
    Capability,
    ContainerImage,
    CpuArchitecture,
    FargateTaskDefinition,
    HealthCheck,
    LinuxParameters,
    LogDrivers,
    MountPoint,
    OperatingSystemFamily,
    PortMapping,
    RuntimePlatform,
    Volume,
)
from aws_cdk.aws_iam import PolicyStatement
from constructs import Construct

from cdk.constructs.findings import acknowledge
from cdk.constructs.retention import log_group
from cdk.constructs.service_image import ServiceImage
from cdk.settings import Settings

UNPRIVILEGED_USER = "10001:10001"
"""The user and group that the Dockerfiles create."""

FARGATE_STOP_TIMEOUT_S = 30
"""Time between SIGTERM and SIGKILL by default.

Source: "Amazon ECS task definition parameters for Fargate", Amazon ECS Developer Guide.
"""

LOG_BUFFER = Size.mebibytes(25)
"""AWS recommends 25 MiB for most services; the default before June 2025 was 1 MiB.

Source: "LogConfiguration", Amazon ECS API Reference; "Preventing log loss with non-blocking mode in
the AWSLogs container log driver", AWS Containers Blog.
"""

ARCHITECTURES = {"X86_64": CpuArchitecture.X86_64, "ARM64": CpuArchitecture.ARM64}


class HardenedTask(FargateTaskDefinition):
    """One container without root, without capabilities and with only ``/tmp`` writable.

    ``ecs_exec`` makes the root writable.

    Its role has the permissions in `statements` and no others.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        image: ServiceImage,
        cpu: int,
        memory_mib: int,
        environment: Mapping[str, str],
        statements: Sequence[PolicyStatement],
        stop_timeout_s: int = FARGATE_STOP_TIMEOUT_S,
        command: Sequence[str] | None = None,
        health_check: HealthCheck | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            cpu=cpu,
            memory_limit_mib=memory_mib,
            runtime_platform=RuntimePlatform(
                cpu_architecture=ARCHITECTURES[settings.cpu_architecture],
                operating_system_family=OperatingSystemFamily.LINUX,
            ),
            volumes=[Volume(name="tmp")],
        )
        self.log_group = log_group(self, "Logs", settings)
        hardening = LinuxParameters(self, "Linux", init_process_enabled=True)
        hardening.drop_capabilities(Capability.ALL)
        container = self.add_container(
            "Container",
            image=ContainerImage.from_docker_image_asset(image),
            command=command,
            environment=environment,
            health_check=health_check,
            linux_parameters=hardening,
            # In blocking mode, the service would wait whenever CloudWatch accepts logs slowly.
            # A full buffer drops lines, and with them the metrics that they contain.
            logging=LogDrivers.aws_logs(
                stream_prefix="taskfleet",
                log_group=self.log_group,
                mode=AwsLogDriverMode.NON_BLOCKING,
                max_buffer_size=LOG_BUFFER,
            ),
            port_mappings=[PortMapping(container_port=port)] if port else None,
            # ECS Exec does not work with a read-only root.
            readonly_root_filesystem=not settings.ecs_exec,
            stop_timeout=Duration.seconds(stop_timeout_s),
            user=UNPRIVILEGED_USER,
        )
        container.add_mount_points(
            MountPoint(container_path="/tmp", source_volume="tmp", read_only=False)  # noqa: S108
        )
        for statement in statements:
            self.add_to_task_role_policy(statement)

        acknowledge(
            self,
            "AwsSolutions-ECS2",
            reason="The environment contains resource names and limits. The only secret, the API "
            "keys, is read from Secrets Manager at run time.",
        )
        if settings.ecs_exec:
            acknowledge(
                self,
                "AwsSolutions-IAM5[Resource::*]",
                reason="The channels of ECS Exec support no resources. The setting is for "
                "emergencies and off by default.",
            )
        acknowledge(
            self.obtain_execution_role(),
            "AwsSolutions-IAM5[Resource::*]",
            reason="ECS needs ecr:GetAuthorizationToken to pull an image, and the action supports "
            "no resource.",
        )
