"""Containers in Docker, through its command line, as the CDK builds images too.

They share the host's network: what they reach and what reaches them is loopback.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence

from local.processes import end
from local.rehearsal import commands, images
from local.rehearsal.assembly import ImageAsset
from local.rehearsal.ecs.definitions import TaskDefinition
from local.rehearsal.ecs.engine import ContainerOrder

CPU_UNITS = 1_024
"""ECS counts a vCPU as so many."""

LABEL = "taskfleet.rehearsal"
"""On every container of ours; its value is the process that started it."""


class DockerContainer:
    def __init__(
        self,
        name: str,
        attached: asyncio.subprocess.Process,
        *,
        stop_signal: str,
        environment: Mapping[str, str],
    ) -> None:
        self._name = name
        self._stop_signal = stop_signal
        self._attached = attached
        self._environment = environment

    async def wait(self) -> int:
        return await self._attached.wait()

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *("docker", "exec", self._name, *command),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        finally:
            await end(process)
        return process.returncode or 0, output.decode(errors="replace").strip()

    async def ask_to_stop(self) -> None:
        await self._docker("kill", f"--signal={self._stop_signal}", self._name)

    async def remove(self) -> None:
        await self._docker("rm", "--force", "--volumes", self._name)
        await end(self._attached)

    async def _docker(self, *arguments: str) -> None:
        """Whether the container still is there does not matter."""
        process = await asyncio.create_subprocess_exec(
            *("docker", *arguments),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        await process.wait()


class DockerEngine:
    """`environment` is that of the command line."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.sentence = "containers in Docker"
        self._environment = environment
        self._images: dict[str, str] = {}

    async def provide(self, asset: ImageAsset) -> None:
        await images.build(asset, self._environment)
        self._images[asset.tag] = images.local_name(asset)

    async def start(self, order: ContainerOrder) -> DockerContainer:
        definition = order.definition
        await commands.run(
            (
                *("docker", "create", "--name", order.name, "--network", "host"),
                *("--label", f"{LABEL}={os.getpid()}"),
                *_restrictions(definition),
                *_environment_options(order.environment),
                *(self._images[definition.image_tag], *definition.command),
            ),
            environment=self._environment,
            purpose=f"Creating a container of {definition.family}",
        )
        stop_signal = await commands.run(
            ("docker", "inspect", "--format", "{{.Config.StopSignal}}", order.name),
            environment=self._environment,
            purpose="Looking for the stop signal",
        )
        with order.log.open("wb") as log:
            attached = await asyncio.create_subprocess_exec(
                *("docker", "start", "--attach", order.name),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return DockerContainer(
            order.name,
            attached,
            stop_signal=stop_signal.strip() or "SIGTERM",
            environment=self._environment,
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


def _environment_options(environment: Mapping[str, str]) -> Sequence[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]


async def is_available(environment: Mapping[str, str]) -> bool:
    """Whether there is an engine that answers."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("docker", "info"),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return False
    return await process.wait() == 0
