"""Plays ECS for what CloudFormation has deployed, and Application Auto Scaling's part at its start.

The desired state is asked for again and again, as ECS's own control plane does: whoever changes it,
by a deployment or by hand, sees it followed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.changes import Changes
from rehearsal.ecs.definitions import (
    ServiceDefinition,
    TaskDefinition,
    read_services,
    read_task_definition,
)
from rehearsal.ecs.launcher import Launcher
from rehearsal.ecs.service_scheduler import ServiceScheduler
from rehearsal.failure import Failed

LOOK_EVERY_S = 0.2
STEADY_WITHIN_S = 120
"""Starts on a busy machine, the load balancer's health checks, and leaving tasks that finish."""

CREATED_WITH = 1
"""The desired count of a service that CloudFormation creates without one."""


class EcsPlayer:
    """`run` it; services are known by their names."""

    def __init__(
        self, *, clients: AwsClients, launcher: Launcher, balancer: LoadBalancer, changes: Changes
    ) -> None:
        self._clients = clients
        self._launcher = launcher
        self._balancer = balancer
        self._changes = changes
        self._definitions: dict[str, TaskDefinition] = {}
        self._services: dict[str, ServiceDefinition] = {}
        self._schedulers: dict[str, ServiceScheduler] = {}

    async def run(self) -> None:
        """Follow until cancelled; then no task is left."""
        async with asyncio.TaskGroup() as schedulers:
            while True:
                for service in await asyncio.to_thread(self._read):
                    if service.name not in self._schedulers:
                        scheduler = self._schedulers[service.name] = self._scheduler(service)
                        schedulers.create_task(scheduler.run())
                    self._services[service.name] = service
                    self._schedulers[service.name].order(
                        service, self.definition(service.task_definition_arn)
                    )
                await asyncio.sleep(LOOK_EVERY_S)

    def definition(self, arn: str) -> TaskDefinition:
        if arn not in self._definitions:
            self._definitions[arn] = read_task_definition(self._clients.ecs, arn)
        return self._definitions[arn]

    def scheduler(self, service: ServiceDefinition) -> ServiceScheduler:
        return self._schedulers[service.name]

    async def steady(self, service: ServiceDefinition) -> None:
        """Wait until a service is as it is described by `service`.

        Raises ``Failed`` when it will not be, and says what keeps it.
        """

        def settled() -> bool:
            if self._services.get(service.name) != service:
                return False
            scheduler = self._schedulers[service.name]
            return scheduler.steady or scheduler.failure is not None

        try:
            async with asyncio.timeout(STEADY_WITHIN_S):
                await self._changes.until(settled)
        except TimeoutError:
            raise Failed(f"{service.name} is not steady after {STEADY_WITHIN_S} s.") from None
        if (failure := self._schedulers[service.name].failure) is not None:
            raise failure

    def _read(self) -> list[ServiceDefinition]:
        """Every service as it shall be; one that was deleted without tasks."""
        present = {service.name: service for service in read_services(self._clients.ecs)}
        gone = [
            replace(service, desired_count=0)
            for name, service in self._services.items()
            if name not in present
        ]
        return [*present.values(), *gone]

    def _scheduler(self, service: ServiceDefinition) -> ServiceScheduler:
        arn = service.target_group_arn
        return ServiceScheduler(
            launch=self._launcher.launch,
            group=self._balancer.group(arn) if arn else None,
            changes=self._changes,
        )


def set_desired_counts(clients: AwsClients) -> None:
    """Give every service the count that it starts with: within its scaling bounds."""
    targets = clients.autoscaling.describe_scalable_targets(ServiceNamespace="ecs")
    bounds: Mapping[str, tuple[int, int]] = {
        target["ResourceId"].rpartition("/")[2]: (target["MinCapacity"], target["MaxCapacity"])
        for target in targets["ScalableTargets"]
    }
    for service in read_services(clients.ecs):
        least, most = bounds.get(service.name, (CREATED_WITH, CREATED_WITH))
        set_desired_count(clients, service, max(least, min(CREATED_WITH, most)))


def set_desired_count(clients: AwsClients, service: ServiceDefinition, count: int) -> None:
    clients.ecs.update_service(cluster=service.cluster, service=service.name, desiredCount=count)
