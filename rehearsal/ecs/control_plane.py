"""A stand-in for the ECS control plane: keeps the deployed services running as described.

It polls the emulated AWS for the services, so it follows every change, whether by a deployment or
by hand. ``set_desired_counts`` does what Application Auto Scaling does after a deployment.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from rehearsal.aws_clients import AwsClients
from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.ecs.definitions import (
    ServiceDefinition,
    TaskDefinition,
    read_services,
    read_task_definition,
)
from rehearsal.ecs.launcher import Launcher
from rehearsal.ecs.service_scheduler import ServiceScheduler
from rehearsal.failure import RehearsalFailed

POLL_INTERVAL_S = 0.2
STEADY_TIMEOUT_S = 120
"""For starts on a busy machine, the load balancer's health checks, and draining tasks."""

INITIAL_DESIRED_COUNT = 1
"""The desired count of a service that CloudFormation creates without one."""


class EcsControlPlane:
    """Does nothing until ``run``. Services are identified by their names."""

    def __init__(
        self,
        *,
        clients: AwsClients,
        launcher: Launcher,
        balancer: LoadBalancer,
        changes: ChangeNotifier,
    ) -> None:
        self._clients = clients
        self._launcher = launcher
        self._balancer = balancer
        self._changes = changes
        self._definitions: dict[str, TaskDefinition] = {}
        self._services: dict[str, ServiceDefinition] = {}
        self._schedulers: dict[str, ServiceScheduler] = {}

    async def run(self) -> None:
        """Run the services until canceled. Then no task is left running."""
        async with asyncio.TaskGroup() as schedulers:
            while True:
                for service in await asyncio.to_thread(self._read_services):
                    if service.name not in self._schedulers:
                        scheduler = self._schedulers[service.name] = self._scheduler(service)
                        schedulers.create_task(scheduler.run())
                    self._services[service.name] = service
                    self._schedulers[service.name].update(
                        service, self.definition(service.task_definition_arn)
                    )
                await asyncio.sleep(POLL_INTERVAL_S)

    def definition(self, arn: str) -> TaskDefinition:
        if arn not in self._definitions:
            self._definitions[arn] = read_task_definition(self._clients.ecs, arn)
        return self._definitions[arn]

    def scheduler(self, service: ServiceDefinition) -> ServiceScheduler:
        return self._schedulers[service.name]

    async def wait_until_steady(self, service: ServiceDefinition) -> None:
        """Wait until exactly the tasks of `service` run and are healthy.

        Raises ``RehearsalFailed`` with the reason if they cannot become healthy.
        """

        def is_settled() -> bool:
            if self._services.get(service.name) != service:
                return False
            scheduler = self._schedulers[service.name]
            return scheduler.is_steady or scheduler.failure is not None

        try:
            async with asyncio.timeout(STEADY_TIMEOUT_S):
                await self._changes.wait_for(is_settled)
        except TimeoutError:
            message = f"{service.name} is not steady after {STEADY_TIMEOUT_S} s."
            raise RehearsalFailed(message) from None
        if (failure := self._schedulers[service.name].failure) is not None:
            raise failure

    def _read_services(self) -> list[ServiceDefinition]:
        """All services as described now. A deleted service gets a desired count of 0."""
        present = {service.name: service for service in read_services(self._clients.ecs)}
        deleted = [
            replace(service, desired_count=0)
            for name, service in self._services.items()
            if name not in present
        ]
        return [*present.values(), *deleted]

    def _scheduler(self, service: ServiceDefinition) -> ServiceScheduler:
        arn = service.target_group_arn
        return ServiceScheduler(
            launch=self._launcher.launch,
            group=self._balancer.group(arn) if arn else None,
            changes=self._changes,
        )


def set_desired_counts(clients: AwsClients) -> None:
    """Set the initial desired count of every service, within its scaling bounds."""
    targets = clients.autoscaling.describe_scalable_targets(ServiceNamespace="ecs")
    bounds: Mapping[str, tuple[int, int]] = {
        target["ResourceId"].rpartition("/")[2]: (target["MinCapacity"], target["MaxCapacity"])
        for target in targets["ScalableTargets"]
    }
    for service in read_services(clients.ecs):
        minimum, maximum = bounds.get(service.name, (INITIAL_DESIRED_COUNT,) * 2)
        set_desired_count(clients, service, max(minimum, min(INITIAL_DESIRED_COUNT, maximum)))


def set_desired_count(clients: AwsClients, service: ServiceDefinition, count: int) -> None:
    clients.ecs.update_service(cluster=service.cluster, service=service.name, desiredCount=count)
