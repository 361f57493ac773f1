"""Plain processes in place of containers, where there is no Docker engine.

Each runs the image's entry point on the asset's own files, with the environment of its container;
user, read-only root, capabilities, memory and CPU are not as deployed.
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
from rehearsal.ecs.engine import ContainerOrder
from rehearsal.failure import Failed

_EXEC_FORM = re.compile(r"^(ENTRYPOINT|CMD) +(\[.*\])$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Image:
    """`folder` stands for the image's working directory."""

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

    async def ask_to_stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def remove(self) -> None:
        await terminate(self._process, grace_s=0)
        self._watchdog.stop()


class ProcessEngine:
    """`scratch` is where the processes' files go, `reason` why there are no containers."""

    def __init__(self, scratch: Path, *, reason: str) -> None:
        self.sentence = f"processes, {reason}: their user, root and sizes are not as deployed"
        self._scratch = scratch
        self._images: dict[str, _Image] = {}

    async def provide(self, asset: ImageAsset) -> None:
        """The folder has what the Dockerfiles copy: the asset's files, as ``services``."""
        folder = self._scratch / asset.tag
        if not folder.exists():
            folder.mkdir()
            (folder / "services").symlink_to(asset.directory, target_is_directory=True)
        last = dict(_EXEC_FORM.findall((asset.directory / asset.dockerfile).read_text()))
        if "ENTRYPOINT" not in last:
            raise Failed(f"{asset.dockerfile} has no entry point in exec form.")
        self._images[asset.tag] = _Image(
            folder, json.loads(last["ENTRYPOINT"]), json.loads(last.get("CMD", "[]"))
        )

    async def start(self, order: ContainerOrder) -> ProcessContainer:
        image = self._images[order.definition.image_tag]
        temporary = self._scratch / order.name
        temporary.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            # All processes see one /tmp, where containers have one each.
            "TMPDIR": str(temporary),
            "HEALTH_FILE": str(temporary / "health"),
            **order.environment,
        }
        with order.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *image.entry_point,
                *(order.definition.command or image.command),
                cwd=image.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return ProcessContainer(process, image.folder, environment)
