"""Runs plain processes instead of containers, for machines without Docker.

A process runs the image's entry point on the asset's files, with the environment of the container.
User, read-only root, capabilities, memory and CPU are not those of the definition.
"""

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local.processes import terminate
from local.watchdog import Watchdog
from rehearsal.assembly import ImageAsset
from rehearsal.ecs.engine import ContainerSpec
from rehearsal.failure import RehearsalFailed

_EXEC_FORM = re.compile(r"^(ENTRYPOINT|CMD) +(\[.*\])$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _ProcessImage:
    """`folder` takes the place of the image's working directory."""

    folder: Path
    entry_point: Sequence[str]
    command: Sequence[str]


class ProcessContainer:
    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._process = process
        self._watchdog = Watchdog(process.pid)
        self._folder = folder
        self._environment = environment

    async def wait(self) -> int:
        return await self._process.wait()

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        finally:
            await terminate(process)
        return process.returncode or 0, output.decode(errors="replace").strip()

    async def send_stop_signal(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def remove(self) -> None:
        await terminate(self._process, grace_s=0)
        self._watchdog.stop()


class ProcessEngine:
    """Files of the processes are written to `scratch`. `reason` says why Docker is not used."""

    def __init__(self, scratch: Path, *, reason: str) -> None:
        self.description = f"processes, {reason}; user, root and sizes are not as deployed"
        self._scratch = scratch
        self._images: dict[str, _ProcessImage] = {}

    async def prepare_image(self, asset: ImageAsset) -> None:
        """Link the asset's files as ``services``, where the Dockerfiles copy them."""
        folder = self._scratch / asset.tag
        if not folder.exists():
            folder.mkdir()
            (folder / "services").symlink_to(asset.directory, target_is_directory=True)
        dockerfile = (asset.directory / asset.dockerfile).read_text()
        instructions = dict(_EXEC_FORM.findall(dockerfile))
        if "ENTRYPOINT" not in instructions:
            raise RehearsalFailed(f"{asset.dockerfile} has no entry point in exec form.")
        self._images[asset.tag] = _ProcessImage(
            folder,
            json.loads(instructions["ENTRYPOINT"]),
            json.loads(instructions.get("CMD", "[]")),
        )

    async def start(self, spec: ContainerSpec) -> ProcessContainer:
        image = self._images[spec.definition.image_tag]
        temporary = self._scratch / spec.name
        temporary.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            # Containers have a /tmp of their own; processes share one.
            "TMPDIR": str(temporary),
            "HEALTH_FILE": str(temporary / "health"),
            **spec.environment,
        }
        with spec.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *image.entry_point,
                *(spec.definition.command or image.command),
                cwd=image.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return ProcessContainer(process, image.folder, environment)
