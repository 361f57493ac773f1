"""The objects that every proof uses."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rehearsal.aws.authorizer import Authorizer
from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.control_plane import EcsControlPlane, set_desired_count
from rehearsal.ecs.definitions import ServiceDefinition, read_services
from rehearsal.ecs.launcher import Launcher
from rehearsal.failure import RehearsalFailed
from rehearsal.image_source import ImageSource
from rehearsal.report import RehearsalReport

PROOF_TIMEOUT_S = 180
"""Far more than any proof takes. A proof that runs longer is stuck."""


@dataclass(frozen=True, slots=True)
class ProofContext:
    deployment: CdkDeployment
    clients: AwsClients
    authorizer: Authorizer
    launcher: Launcher
    control_plane: EcsControlPlane
    balancer: LoadBalancer
    images: ImageSource
    changes: ChangeNotifier
    report: RehearsalReport
    ca_file: str | None
    """The authority that signed the load balancer's certificate; None without HTTPS."""

    @property
    def api(self) -> ServiceDefinition:
        """The service behind the load balancer, as ECS describes it now."""
        return _only([each for each in self._services() if each.target_group_arn], "behind")

    @property
    def worker(self) -> ServiceDefinition:
        """The service without a load balancer, as ECS describes it now."""
        return _only([each for each in self._services() if not each.target_group_arn], "without")

    @asynccontextmanager
    async def proof(self, purpose: str) -> AsyncIterator[list[str]]:
        """A step of the report with a timeout. Yields the list of the step's notes."""
        with self.report.step(purpose) as notes:
            try:
                async with asyncio.timeout(PROOF_TIMEOUT_S):
                    yield notes
            except TimeoutError:
                message = f"{purpose}: not within {PROOF_TIMEOUT_S} s."
                raise RehearsalFailed(message) from None

    def set_worker_count(self, count: int) -> None:
        """Set the desired count, as Application Auto Scaling or an operator does."""
        set_desired_count(self.clients, self.worker, count)

    def _services(self) -> Sequence[ServiceDefinition]:
        return read_services(self.clients.ecs)


def _only(services: Sequence[ServiceDefinition], relation: str) -> ServiceDefinition:
    if len(services) != 1:
        raise RehearsalFailed(
            f"The rehearsal expects one service {relation} a load balancer and found "
            f"{len(services)}."
        )
    return services[0]
