"""Everything that a proof has at hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from local.rehearsal.aws.gate import Gate
from local.rehearsal.balancer.load_balancer import LoadBalancer
from local.rehearsal.changes import Changes
from local.rehearsal.clients import Clients
from local.rehearsal.deployment import Deployment
from local.rehearsal.ecs.definitions import Service, read_services
from local.rehearsal.ecs.launcher import Launcher
from local.rehearsal.ecs.player import EcsPlayer, set_desired_count
from local.rehearsal.failure import Failed
from local.rehearsal.pictures import PictureSource
from local.rehearsal.report import Report

PROOF_WITHIN_S = 180
"""Far more than any takes; what hangs for so long will not end."""


@dataclass(frozen=True, slots=True)
class Stage:
    deployment: Deployment
    clients: Clients
    gate: Gate
    launcher: Launcher
    player: EcsPlayer
    balancer: LoadBalancer
    pictures: PictureSource
    changes: Changes
    report: Report
    ca_file: str | None
    """Of the authority behind the load balancer's certificate."""

    @property
    def api(self) -> Service:
        """The service behind the load balancer, as it is described now."""
        return _only([each for each in self._services() if each.target_group_arn], "behind")

    @property
    def worker(self) -> Service:
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

    def _services(self) -> Sequence[Service]:
        return read_services(self.clients.ecs)


def _only(services: Sequence[Service], relation: str) -> Service:
    if len(services) != 1:
        raise Failed(f"There is not one service {relation} a load balancer, but {len(services)}.")
    return services[0]
