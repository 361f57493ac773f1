"""What runs containers: a Docker engine or, without one, plain processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rehearsal.assembly import ImageAsset
from rehearsal.ecs.definitions import TaskDefinition


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """A container to start; `environment` is all that it gets beside what its image has.

    What it prints goes to `log`.
    """

    name: str
    definition: TaskDefinition
    environment: Mapping[str, str]
    log: Path


class Container(Protocol):
    """One that was started."""

    async def wait(self) -> int:
        """Wait until it has ended; the exit code."""

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside: its exit code and output. Cancelled, it is killed."""

    async def ask_to_stop(self) -> None:
        """Send it its stop signal; on return it has got it."""

    async def remove(self) -> None:
        """Kill whatever is left of it. Without effect when nothing is."""


class ContainerEngine(Protocol):
    """`sentence` says what containers run in."""

    sentence: str

    async def provide(self, asset: ImageAsset) -> None:
        """Make the image ready to start containers from; raises ``Failed``."""

    async def start(self, order: ContainerOrder) -> Container:
        """Start a container from the image whose tag its definition names."""
