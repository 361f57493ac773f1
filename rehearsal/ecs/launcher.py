"""Starts a task as ECS does: a container with an address and the credentials of its role."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from rehearsal.aws.authorizer import Authorizer
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.ecs import agent
from rehearsal.ecs.addresses import AddressPool
from rehearsal.ecs.credentials import CredentialsEndpoint
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.ecs.engine import ContainerEngine, ContainerSpec
from rehearsal.ecs.running_task import RunningTask


class Launcher:
    """Adds `extra_environment` to the deployed environment of every container.

    Output is written to files in `logs`.
    """

    def __init__(
        self,
        *,
        engine: ContainerEngine,
        credentials: CredentialsEndpoint,
        authorizer: Authorizer,
        addresses: AddressPool,
        extra_environment: Mapping[str, str],
        logs: Path,
        changes: ChangeNotifier,
    ) -> None:
        self._engine = engine
        self._credentials = credentials
        self._authorizer = authorizer
        self._addresses = addresses
        self._extra_environment = extra_environment
        self._logs = logs
        self._changes = changes

    async def launch(self, definition: TaskDefinition) -> RunningTask:
        """Raises ``RehearsalFailed`` if ECS could not start the task."""
        agent.authorize_start(definition, self._authorizer)
        name = f"{definition.family}-{secrets.token_hex(3)}"
        address = self._addresses.next()
        environment = {
            **definition.environment,
            **self._extra_environment,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self._credentials.create_uri(
                definition.task_role_arn
            ),
        }
        if definition.port is not None:
            environment["API_HOST"] = address
        log = self._logs / f"{name}.log"
        container = await self._engine.start(ContainerSpec(name, definition, environment, log))
        return RunningTask(
            name=name,
            definition=definition,
            container=container,
            address=address,
            log=log,
            changes=self._changes,
        )
