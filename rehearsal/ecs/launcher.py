"""Starts tasks as ECS does: container, address, credentials."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from rehearsal.aws.gate import Gate
from rehearsal.changes import Changes
from rehearsal.ecs import agent
from rehearsal.ecs.addresses import AddressPool
from rehearsal.ecs.credentials import CredentialsEndpoint
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.ecs.engine import ContainerEngine, ContainerOrder
from rehearsal.ecs.running_task import RunningTask


class Launcher:
    """`additions` go to the environment of every container, beside what is deployed."""

    def __init__(
        self,
        *,
        engine: ContainerEngine,
        credentials: CredentialsEndpoint,
        gate: Gate,
        addresses: AddressPool,
        additions: Mapping[str, str],
        logs: Path,
        changes: Changes,
    ) -> None:
        self._engine = engine
        self._credentials = credentials
        self._gate = gate
        self._addresses = addresses
        self._additions = additions
        self._logs = logs
        self._changes = changes

    async def launch(self, definition: TaskDefinition) -> RunningTask:
        """Raises ``Failed`` when ECS could not start it either."""
        agent.permit_start(definition, self._gate)
        name = f"{definition.family}-{secrets.token_hex(3)}"
        address = self._addresses.next()
        environment = {
            **definition.environment,
            **self._additions,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self._credentials.uri_for(
                definition.task_role_arn
            ),
        }
        if definition.port is not None:
            environment["API_HOST"] = address
        log = self._logs / f"{name}.log"
        container = await self._engine.start(ContainerOrder(name, definition, environment, log))
        return RunningTask(
            name=name,
            definition=definition,
            container=container,
            address=address,
            log=log,
            changes=self._changes,
        )
