"""Starts the stand-ins for the AWS services around the containers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local.ports import HOST
from rehearsal.aws.emulator import EmulatedAws
from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.balancer.settings import read_load_balancer, read_target_groups
from rehearsal.certificate import Certificate
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.addresses import AddressPool
from rehearsal.ecs.control_plane import EcsControlPlane
from rehearsal.ecs.credentials import CredentialsEndpoint
from rehearsal.ecs.definitions import read_services
from rehearsal.ecs.engine import ContainerEngine
from rehearsal.ecs.eventbridge import read_schedule
from rehearsal.ecs.launcher import Launcher
from rehearsal.image_source import ImageSource
from rehearsal.proof_context import ProofContext
from rehearsal.report import RehearsalReport


@asynccontextmanager
async def start_emulation(
    *,
    deployment: CdkDeployment,
    aws: EmulatedAws,
    clients: AwsClients,
    engine: ContainerEngine,
    addresses: AddressPool,
    certificate: Certificate | None,
    report: RehearsalReport,
    logs: Path,
) -> AsyncIterator[ProofContext]:
    """Run the load balancer, the credentials endpoint and the image source inside this context.

    The ECS control plane starts when the caller runs it. Container logs are written to `logs`.
    """
    changes = ChangeNotifier()
    balancer = LoadBalancer(
        read_load_balancer(clients.elbv2),
        groups=read_target_groups(clients.elbv2),
        address=addresses.load_balancer,
        certificates={certificate.arn: certificate.context} if certificate else {},
        changes=changes,
    )
    async with (
        balancer,
        CredentialsEndpoint(clients, aws.authorizer) as credentials,
        ImageSource(changes) as images,
    ):
        extra_environment = _extra_environment(aws, images)
        _report_differences(report, balancer, extra_environment)
        launcher = Launcher(
            engine=engine,
            credentials=credentials,
            authorizer=aws.authorizer,
            addresses=addresses,
            extra_environment=extra_environment,
            logs=logs,
            changes=changes,
        )
        control_plane = EcsControlPlane(
            clients=clients, launcher=launcher, balancer=balancer, changes=changes
        )
        _report_definitions(report, control_plane, clients)
        yield ProofContext(
            deployment=deployment,
            clients=clients,
            authorizer=aws.authorizer,
            launcher=launcher,
            control_plane=control_plane,
            balancer=balancer,
            images=images,
            changes=changes,
            report=report,
            ca_file=certificate.ca_file if certificate else None,
        )


def _extra_environment(aws: EmulatedAws, images: ImageSource) -> Mapping[str, str]:
    """The variables that every container gets in addition to the deployed ones."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FETCH_ALLOWED_NETWORKS": f"{HOST}/32",
        "FETCH_ALLOWED_PORTS": f"80,443,{images.port}",
    }


def _report_differences(
    report: RehearsalReport, balancer: LoadBalancer, extra_environment: Mapping[str, str]
) -> None:
    moved_ports = [
        f"The load balancer listens on port {actual} instead of {port}, which is in use or not "
        "permitted for this user."
        for port, actual in balancer.ports.items()
        if port != actual
    ]
    report.write_list(
        "In addition to the deployed environment, containers get their own address, the URI of "
        "their role's credentials, and these variables:",
        [*(f"{name}={value}" for name, value in extra_environment.items()), *moved_ports],
    )


def _report_definitions(
    report: RehearsalReport, control_plane: EcsControlPlane, clients: AwsClients
) -> None:
    arns = [service.task_definition_arn for service in read_services(clients.ecs)]
    arns.append(read_schedule(clients).task_definition_arn)
    report.write_list(
        "Containers run as deployed:", [str(control_plane.definition(arn)) for arn in arns]
    )
    report.write("")
