"""Runs containers in Docker, on the host's network, so that all their traffic is on loopback."""

import asyncio
import os
from collections.abc import Mapping, Sequence

import psutil

from local.processes import terminate
from rehearsal import container_images
from rehearsal.assembly import ImageAsset
from rehearsal.docker_cli import DockerCli
from rehearsal.ecs.definitions import TaskDefinition
from rehearsal.ecs.engine import ContainerSpec

CPU_UNITS = 1_024
"""CPU units of one vCPU ("ContainerDefinition", Amazon ECS API Reference)."""

LABEL = "taskfleet.rehearsal"
"""The label of all our containers. Its value is the ID of the process that started them."""


class DockerContainer:
    """`attached` is a ``docker start --attach``, which exits with the container's exit code."""

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

    async def send_stop_signal(self) -> None:
        await self._cli.attempt("kill", f"--signal={self._stop_signal}", self._name)

    async def remove(self) -> None:
        await _remove(self._cli, self._name)
        await terminate(self._attached)


class DockerEngine:
    description = "containers in Docker"

    def __init__(self, cli: DockerCli) -> None:
        self._cli = cli
        self._images: dict[str, str] = {}

    async def prepare_image(self, asset: ImageAsset) -> None:
        await container_images.build(asset, self._cli)
        self._images[asset.tag] = container_images.docker_tag(asset)

    async def start(self, spec: ContainerSpec) -> DockerContainer:
        try:
            return await self._start(spec)
        except BaseException:
            await _remove(self._cli, spec.name)
            raise

    async def _start(self, spec: ContainerSpec) -> DockerContainer:
        definition = spec.definition
        await self._cli.run(
            *("create", f"--name={spec.name}", f"--label={LABEL}={os.getpid()}"),
            *("--network=host", *_limits(definition), *_environment(spec.environment)),
            *(self._images[definition.image_tag], *definition.command),
            purpose=f"Creating a container of {definition.family}",
        )
        stop_signal = await self._cli.run(
            *("inspect", "--format={{.Config.StopSignal}}", spec.name),
            purpose="Reading the stop signal",
        )
        with spec.log.open("wb") as log:
            attached = await self._cli.attach("start", "--attach", spec.name, log=log.fileno())
        return DockerContainer(
            spec.name,
            attached=attached,
            stop_signal=stop_signal.strip() or "SIGTERM",
            cli=self._cli,
        )


def _limits(definition: TaskDefinition) -> Sequence[str]:
    """Docker options for the sizes, user, root file system and capabilities of the definition."""
    cpus = min(definition.cpu_units / CPU_UNITS, os.cpu_count() or 1)
    options = [f"--memory={definition.memory_mib}m", f"--cpus={cpus:g}"]
    if definition.user:
        options.append(f"--user={definition.user}")
    if definition.read_only_root:
        options.append("--read-only")
    if definition.init_process:
        options.append("--init")
    options += [f"--cap-drop={capability}" for capability in definition.dropped_capabilities]
    # A volume takes the permissions of the folder in the image, as on Fargate.
    options += [f"--mount=type=volume,dst={path}" for path in definition.writable_paths]
    return options


def _environment(environment: Mapping[str, str]) -> Sequence[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]


async def _remove(cli: DockerCli, name: str) -> None:
    """Remove a container and its volumes if it exists."""
    await cli.attempt("rm", "--force", "--volumes", name)


async def is_available(cli: DockerCli) -> bool:
    """Whether a Docker engine responds."""
    exit_code, _ = await cli.attempt("info")
    return exit_code == 0


async def remove_orphans(cli: DockerCli) -> None:
    """Remove the containers of rehearsals that were killed before their cleanup."""
    listed = await cli.run(
        *(
            "ps",
            "--all",
            f"--filter=label={LABEL}",
            f'--format={{{{.ID}}}} {{{{.Label "{LABEL}"}}}}',
        ),
        purpose="Listing orphaned containers",
    )
    for line in listed.splitlines():
        container, process = line.split()
        if not psutil.pid_exists(int(process)):
            await _remove(cli, container)
