"""The interface of what runs containers: a Docker engine or plain processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rehearsal.assembly import ImageAsset
from rehearsal.ecs.definitions import TaskDefinition


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to start. Its output is written to `log`.

    `environment` is the container's whole environment, apart from variables set in the image.
    """

    name: str
    definition: TaskDefinition
    environment: Mapping[str, str]
    log: Path


class Container(Protocol):
    """A container that was started."""

    async def wait(self) -> int:
        """Wait until the container exits. Returns the exit code."""

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside. Returns its exit code and output. Canceling kills the command."""

    async def send_stop_signal(self) -> None:
        """Send the image's stop signal. Returns once it is delivered."""

    async def remove(self) -> None:
        """Kill the container if it still runs, and remove it. May be called repeatedly."""


class ContainerEngine(Protocol):
    """`description` names what runs the containers, for the report."""

    description: str

    async def prepare_image(self, asset: ImageAsset) -> None:
        """Make the image available for ``start``. Raises ``RehearsalFailed``."""

    async def start(self, spec: ContainerSpec) -> Container:
        """Start a container of the image whose tag the definition names."""
