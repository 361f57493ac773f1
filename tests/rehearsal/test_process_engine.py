"""Processes in place of containers: what they run, what they are told, and how they end."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.assembly import ImageAsset
from rehearsal.ecs.engine import Container, ContainerOrder
from rehearsal.ecs.process_engine import ProcessEngine
from rehearsal.failure import Failed
from tests.local.process_exit import wait_for_exit
from tests.rehearsal.test_service_scheduler import FIRST

PROGRAM = """
import json, os, sys, time
said = {"environment": dict(os.environ), "arguments": sys.argv[1:], "pid": os.getpid()}
print(json.dumps(said), flush=True)
time.sleep(600)
"""
WITHIN_S = 20


def asset(folder: Path, dockerfile: str) -> ImageAsset:
    (folder / "one").mkdir(parents=True)
    (folder / "one/Dockerfile").write_text(dockerfile)
    (folder / "program.py").write_text(PROGRAM)
    return ImageAsset(folder, "one/Dockerfile", None, {}, "images", FIRST.image_tag)


def dockerfile(*, command: str = '["run"]') -> str:
    return f'FROM base\nENTRYPOINT ["{sys.executable}", "services/program.py"]\nCMD {command}\n'


@asynccontextmanager
async def started(
    folder: Path, *, text: str | None = None, command: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Container, Path]]:
    """A container, and its log once it has said something."""
    engine = ProcessEngine(folder, reason="for a test")
    await engine.provide(asset(folder / "asset", text or dockerfile()))
    log = folder / "log"
    definition = replace(FIRST, command=command)
    container = await engine.start(ContainerOrder("name", definition, {"TOLD": "yes"}, log))
    try:
        async with asyncio.timeout(WITHIN_S):
            while "\n" not in log.read_text():  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
        yield container, log
    finally:
        await container.remove()


def test_it_runs_the_images_entry_point_on_the_assets_files(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (_, log):
            assert '"arguments": ["run"]' in log.read_text()

    asyncio.run(check())


def test_the_definitions_command_takes_the_place_of_the_images(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path, command=("reconcile",)) as (_, log):
            assert '"arguments": ["reconcile"]' in log.read_text()

    asyncio.run(check())


def test_it_is_told_what_is_ordered_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "secret")

    async def check() -> None:
        async with started(tmp_path) as (_, log):
            assert '"TOLD": "yes"' in log.read_text()
            assert "secret" not in log.read_text()

    asyncio.run(check())


def test_it_hears_its_stop_signal(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, _):
            await container.ask_to_stop()
            async with asyncio.timeout(WITHIN_S):
                assert await container.wait() == -15

    asyncio.run(check())


def test_a_command_runs_beside_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, _):
            code = "import os, sys; print(os.environ['TOLD']); sys.exit(3)"
            assert await container.execute([sys.executable, "-c", code]) == (3, "yes")

    asyncio.run(check())


def test_nothing_is_left_of_what_is_removed(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, log):
            process = json.loads(log.read_text())["pid"]
            await container.remove()
            assert wait_for_exit([process])

    asyncio.run(check())


def test_an_entry_point_in_shell_form_is_refused(tmp_path: Path) -> None:
    engine = ProcessEngine(tmp_path, reason="for a test")
    shell_form = asset(tmp_path / "asset", "FROM base\nENTRYPOINT python program.py\n")

    with pytest.raises(Failed, match="entry point in exec form"):
        asyncio.run(engine.provide(shell_form))
