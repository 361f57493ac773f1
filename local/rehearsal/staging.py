"""Sets the stage: everything around the containers that AWS would be."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local.ports import HOST
from local.rehearsal.aws.emulator import EmulatedAws
from local.rehearsal.balancer.load_balancer import LoadBalancer
from local.rehearsal.balancer.settings import read_load_balancer, read_target_groups
from local.rehearsal.certificate import Certificate
from local.rehearsal.changes import Changes
from local.rehearsal.clients import Clients
from local.rehearsal.deployment import Deployment
from local.rehearsal.ecs.addresses import Addresses
from local.rehearsal.ecs.credentials import CredentialsEndpoint
from local.rehearsal.ecs.definitions import read_services
from local.rehearsal.ecs.engine import Engine
from local.rehearsal.ecs.launcher import Launcher
from local.rehearsal.ecs.player import EcsPlayer
from local.rehearsal.ecs.schedule import read_schedule
from local.rehearsal.pictures import PictureSource
from local.rehearsal.report import Report
from local.rehearsal.stage import Stage


@asynccontextmanager
async def staged(
    *,
    deployment: Deployment,
    aws: EmulatedAws,
    clients: Clients,
    engine: Engine,
    addresses: Addresses,
    certificate: Certificate | None,
    report: Report,
    logs: Path,
) -> AsyncIterator[Stage]:
    """Play the load balancer, the credentials endpoint and the sources of pictures, within this."""
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
        PictureSource(changes) as pictures,
    ):
        additions = _additions(aws, pictures)
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
        yield Stage(
            deployment=deployment,
            clients=clients,
            gate=aws.gate,
            launcher=launcher,
            player=player,
            balancer=balancer,
            pictures=pictures,
            changes=changes,
            report=report,
            ca_file=certificate.ca_file if certificate else None,
        )


def _additions(aws: EmulatedAws, pictures: PictureSource) -> Mapping[str, str]:
    """What every container is told beyond what is deployed."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FETCH_ALLOWED_NETWORKS": f"{HOST}/32",
        "FETCH_ALLOWED_PORTS": f"80,443,{pictures.port}",
    }


def _tell(report: Report, balancer: LoadBalancer, additions: Mapping[str, str]) -> None:
    moved = [
        f"the load balancer's port {port} is {real}: this user may not have it, or it is taken"
        for port, real in balancer.ports.items()
        if port != real
    ]
    report.list(
        "Beyond what is deployed, containers are told where AWS is, their own address, where their "
        "role's credentials are, and that workers may fetch the rehearsal's own pictures:",
        [*(f"{name}={value}" for name, value in additions.items()), *moved],
    )


def _tell_tasks(report: Report, player: EcsPlayer, clients: Clients) -> None:
    arns = [service.task_definition_arn for service in read_services(clients.ecs)]
    arns.append(read_schedule(clients).task_definition_arn)
    report.list("Containers are started as deployed:", [str(player.definition(a)) for a in arns])
    report.say("")
