"""Everything that a proof has at hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rehearsal.aws.gate import Gate
from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.changes import Changes
from rehearsal.deployment import CdkDeployment
from rehearsal.ecs.definitions import ServiceDefinition, read_services
from rehearsal.ecs.launcher import Launcher
from rehearsal.ecs.player import EcsPlayer, set_desired_count
from rehearsal.failure import Failed
from rehearsal.image_source import ImageSource
from rehearsal.report import RehearsalReport

PROOF_WITHIN_S = 180
"""Far more than any takes; what hangs for so long will not end."""


@dataclass(frozen=True, slots=True)
class ProofContext:
    deployment: CdkDeployment
    clients: AwsClients
    gate: Gate
    launcher: Launcher
    player: EcsPlayer
    balancer: LoadBalancer
    images: ImageSource
    changes: Changes
    report: RehearsalReport
    ca_file: str | None
    """Of the authority behind the load balancer's certificate."""

    @property
    def api(self) -> ServiceDefinition:
        """The service behind the load balancer, as it is described now."""
        return _only([each for each in self._services() if each.target_group_arn], "behind")

    @property
    def worker(self) -> ServiceDefinition:
        """The service that no load balancer leads to, as it is described now."""
        return _only([each for each in self._services() if not each.target_group_arn], "without")

    @asynccontextmanager
    async def proof(self, purpose: str) -> AsyncIterator[list[str]]:
        """A step of the report that must be done in time."""
        with self.report.step(purpose) as told:
            try:
                async with asyncio.timeout(PROOF_WITHIN_S):
                    yield told
            except TimeoutError:
                raise Failed(f"{purpose}: not after {PROOF_WITHIN_S} s.") from None

    def order_workers(self, count: int) -> None:
        """As Application Auto Scaling or an operator does."""
        set_desired_count(self.clients, self.worker, count)

    def _services(self) -> Sequence[ServiceDefinition]:
        return read_services(self.clients.ecs)


def _only(services: Sequence[ServiceDefinition], relation: str) -> ServiceDefinition:
    if len(services) != 1:
        raise Failed(f"There is not one service {relation} a load balancer, but {len(services)}.")
    return services[0]
