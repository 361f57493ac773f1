"""Containers in Docker.

They share the host's network: what they reach and what reaches them is loopback.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence

import psutil

from local.processes import terminate
from rehearsal import container_images
from rehearsal.assembly import ImageAsset
from rehearsal.docker_cli import DockerCli
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.ecs.engine import ContainerOrder

CPU_UNITS = 1_024
"""ECS counts a vCPU as so many."""

LABEL = "taskfleet.rehearsal"
"""On every container of ours; its value is the process that started it."""


class DockerContainer:
    """`attached` is the command that shows its output and ends with its exit code."""

    def __init__(
        self, name: str, *, attached: asyncio.subprocess.Process, stop_signal: str, cli: DockerCli
    ) -> None:
        self._name = name
        self._attached = attached
        self._stop_signal = stop_signal
        self._cli = cli

    async def wait(self) -> int:
        return await self._attached.wait()

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        return await self._cli.attempt("exec", self._name, *command)

    async def ask_to_stop(self) -> None:
        await self._cli.attempt("kill", f"--signal={self._stop_signal}", self._name)

    async def remove(self) -> None:
        await _remove(self._cli, self._name)
        await terminate(self._attached)


class DockerEngine:
    sentence = "containers in Docker"

    def __init__(self, cli: DockerCli) -> None:
        self._cli = cli
        self._images: dict[str, str] = {}

    async def provide(self, asset: ImageAsset) -> None:
        await container_images.build(asset, self._cli)
        self._images[asset.tag] = container_images.local_name(asset)

    async def start(self, order: ContainerOrder) -> DockerContainer:
        try:
            return await self._start(order)
        except BaseException:
            await _remove(self._cli, order.name)
            raise

    async def _start(self, order: ContainerOrder) -> DockerContainer:
        definition = order.definition
        await self._cli.run(
            *("create", f"--name={order.name}", f"--label={LABEL}={os.getpid()}"),
            *("--network=host", *_restrictions(definition), *_told(order.environment)),
            *(self._images[definition.image_tag], *definition.command),
            purpose=f"Creating a container of {definition.family}",
        )
        stop_signal = await self._cli.run(
            *("inspect", "--format={{.Config.StopSignal}}", order.name),
            purpose="Looking for the stop signal",
        )
        with order.log.open("wb") as log:
            attached = await self._cli.attach("start", "--attach", order.name, log=log.fileno())
        return DockerContainer(
            order.name,
            attached=attached,
            stop_signal=stop_signal.strip() or "SIGTERM",
            cli=self._cli,
        )


def _restrictions(definition: TaskDefinition) -> Sequence[str]:
    """What the task definition takes away and gives, in Docker's words."""
    cpus = min(definition.cpu_units / CPU_UNITS, os.cpu_count() or 1)
    options = [f"--memory={definition.memory_mib}m", f"--cpus={cpus:g}"]
    if definition.user:
        options.append(f"--user={definition.user}")
    if definition.read_only_root:
        options.append("--read-only")
    if definition.init_process:
        options.append("--init")
    options += [f"--cap-drop={capability}" for capability in definition.dropped_capabilities]
    # A volume takes over the permissions that the image's folder has, as on Fargate.
    options += [f"--mount=type=volume,dst={path}" for path in definition.writable_paths]
    return options


def _told(environment: Mapping[str, str]) -> Sequence[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]


async def _remove(cli: DockerCli, name: str) -> None:
    """Whether it is there or not."""
    await cli.attempt("rm", "--force", "--volumes", name)


async def is_available(cli: DockerCli) -> bool:
    """Whether there is an engine that answers."""
    exit_code, _ = await cli.attempt("info")
    return exit_code == 0


async def remove_orphans(cli: DockerCli) -> None:
    """Remove the containers of rehearsals that were killed before they could do it themselves."""
    listed = await cli.run(
        *(
            "ps",
            "--all",
            f"--filter=label={LABEL}",
            f'--format={{{{.ID}}}} {{{{.Label "{LABEL}"}}}}',
        ),
        purpose="Looking for containers that were left behind",
    )
    for line in listed.splitlines():
        container, process = line.split()
        if not psutil.pid_exists(int(process)):
            await _remove(cli, container)
