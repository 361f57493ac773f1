"""Sets the context: everything around the containers that AWS would be."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local.ports import HOST
from rehearsal.aws.emulator import EmulatedAws
from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.balancer.settings import read_load_balancer, read_target_groups
from rehearsal.certificate import Certificate
from rehearsal.changes import Changes
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.addresses import AddressPool
from rehearsal.ecs.credentials import CredentialsEndpoint
from rehearsal.ecs.definitions import read_services
from rehearsal.ecs.engine import ContainerEngine
from rehearsal.ecs.eventbridge import read_schedule
from rehearsal.ecs.launcher import Launcher
from rehearsal.ecs.player import EcsPlayer
from rehearsal.image_source import ImageSource
from rehearsal.proof_context import ProofContext
from rehearsal.report import RehearsalReport


@asynccontextmanager
async def emulated(
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
    """Play the load balancer, the credentials endpoint and the sources of images, within this."""
    changes = Changes()
    balancer = LoadBalancer(
        read_load_balancer(clients.elbv2),
        groups=read_target_groups(clients.elbv2),
        address=addresses.of_load_balancer,
        certificates={certificate.arn: certificate.context} if certificate else {},
        changes=changes,
    )
    async with (
        balancer,
        CredentialsEndpoint(clients, aws.gate) as credentials,
        ImageSource(changes) as images,
    ):
        additions = _additions(aws, images)
        _tell(report, balancer, additions)
        launcher = Launcher(
            engine=engine,
            credentials=credentials,
            gate=aws.gate,
            addresses=addresses,
            additions=additions,
            logs=logs,
            changes=changes,
        )
        player = EcsPlayer(clients=clients, launcher=launcher, balancer=balancer, changes=changes)
        _tell_tasks(report, player, clients)
        yield ProofContext(
            deployment=deployment,
            clients=clients,
            gate=aws.gate,
            launcher=launcher,
            player=player,
            balancer=balancer,
            images=images,
            changes=changes,
            report=report,
            ca_file=certificate.ca_file if certificate else None,
        )


def _additions(aws: EmulatedAws, images: ImageSource) -> Mapping[str, str]:
    """What every container is told beyond what is deployed."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FETCH_ALLOWED_NETWORKS": f"{HOST}/32",
        "FETCH_ALLOWED_PORTS": f"80,443,{images.port}",
    }


def _tell(report: RehearsalReport, balancer: LoadBalancer, additions: Mapping[str, str]) -> None:
    moved = [
        f"the load balancer's port {port} is {real}: this user may not have it, or it is taken"
        for port, real in balancer.ports.items()
        if port != real
    ]
    report.list(
        "Beyond what is deployed, containers are told where AWS is, their own address, where their "
        "role's credentials are, and that workers may fetch the rehearsal's own images:",
        [*(f"{name}={value}" for name, value in additions.items()), *moved],
    )


def _tell_tasks(report: RehearsalReport, player: EcsPlayer, clients: AwsClients) -> None:
    arns = [service.task_definition_arn for service in read_services(clients.ecs)]
    arns.append(read_schedule(clients).task_definition_arn)
    report.list("Containers are started as deployed:", [str(player.definition(a)) for a in arns])
    report.say("")
