"""The process engine: command, environment and exit of its processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.assembly import ImageAsset
from rehearsal.ecs.engine import Container, ContainerSpec
from rehearsal.ecs.process_engine import ProcessEngine
from rehearsal.failure import RehearsalFailed
from tests.local.process_exit import wait_for_exit
from tests.rehearsal.definitions import VERSION_1

PROGRAM = """
import json, os, sys, time
output = {"environment": dict(os.environ), "arguments": sys.argv[1:], "pid": os.getpid()}
print(json.dumps(output), flush=True)
time.sleep(600)
"""
TIMEOUT_S = 20


def asset(folder: Path, dockerfile: str) -> ImageAsset:
    (folder / "one").mkdir(parents=True)
    (folder / "one/Dockerfile").write_text(dockerfile)
    (folder / "program.py").write_text(PROGRAM)
    return ImageAsset(folder, "one/Dockerfile", None, {}, "images", VERSION_1.image_tag)


def dockerfile(*, command: str = '["run"]') -> str:
    return f'FROM base\nENTRYPOINT ["{sys.executable}", "services/program.py"]\nCMD {command}\n'


@asynccontextmanager
async def started(
    folder: Path, *, text: str | None = None, command: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Container, Path]]:
    """A process and its log, after its first line of output."""
    engine = ProcessEngine(folder, reason="for a test")
    await engine.prepare_image(asset(folder / "asset", text or dockerfile()))
    log = folder / "log"
    definition = replace(VERSION_1, command=command)
    container = await engine.start(ContainerSpec("name", definition, {"VARIABLE": "yes"}, log))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while "\n" not in log.read_text():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        yield container, log
    finally:
        await container.remove()


def test_a_process_runs_the_entry_point_and_command_of_the_image(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (_, log):
            assert '"arguments": ["run"]' in log.read_text()

    asyncio.run(check())


def test_the_command_of_the_definition_replaces_that_of_the_image(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path, command=("reconcile",)) as (_, log):
            assert '"arguments": ["reconcile"]' in log.read_text()

    asyncio.run(check())


def test_a_process_gets_the_environment_of_its_spec_and_not_that_of_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARENT", "secret")

    async def check() -> None:
        async with started(tmp_path) as (_, log):
            assert '"VARIABLE": "yes"' in log.read_text()
            assert "secret" not in log.read_text()

    asyncio.run(check())


def test_the_stop_signal_is_sigterm(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, _):
            await container.send_stop_signal()
            async with asyncio.timeout(TIMEOUT_S):
                assert await container.wait() == -15

    asyncio.run(check())


def test_a_command_runs_in_the_environment_of_the_process(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, _):
            code = "import os, sys; print(os.environ['VARIABLE']); sys.exit(3)"
            assert await container.execute([sys.executable, "-c", code]) == (3, "yes")

    asyncio.run(check())


def test_a_removed_process_is_gone(tmp_path: Path) -> None:
    async def check() -> None:
        async with started(tmp_path) as (container, log):
            process = json.loads(log.read_text())["pid"]
            await container.remove()
            assert wait_for_exit([process])

    asyncio.run(check())


def test_an_entry_point_in_shell_form_is_rejected(tmp_path: Path) -> None:
    engine = ProcessEngine(tmp_path, reason="for a test")
    shell_form = asset(tmp_path / "asset", "FROM base\nENTRYPOINT python program.py\n")

    with pytest.raises(RehearsalFailed, match="entry point in exec form"):
        asyncio.run(engine.prepare_image(shell_form))
