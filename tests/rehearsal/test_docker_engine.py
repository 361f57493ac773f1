"""Containers as task definitions describe them, in a real Docker engine."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.assembly import ImageAsset
from rehearsal.docker_cli import DockerCli
from rehearsal.ecs import docker_engine
from rehearsal.ecs.docker_engine import LABEL, DockerContainer, DockerEngine
from rehearsal.ecs.engine import ContainerOrder
from tests.rehearsal.test_service_scheduler import FIRST

pytestmark = pytest.mark.docker

DOCKERFILE = """
FROM public.ecr.aws/docker/library/python:3.13-slim-trixie
COPY program.py /program.py
VOLUME /tmp
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "/program.py"]
"""
PROGRAM = """
import json, os, pathlib, signal, sys, time


def writable(path):
    try:
        pathlib.Path(path, "file").touch()
    except OSError:
        return False
    return True


def end(signum, _frame):
    print("heard", signum, flush=True)
    sys.exit(7)


signal.signal(signal.SIGINT, end)
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps({
    "arguments": sys.argv[1:],
    "told": os.environ["TOLD"],
    "user": [os.getuid(), os.getgid()],
    "root": writable("/"),
    "tmp": writable("/tmp"),
    "capabilities": status.partition("CapBnd:")[2].split()[0],
}), flush=True)
time.sleep(600)
"""
DEFINITION = replace(FIRST, user="10001:10001", command=["run"], image_tag="0" * 64)
NAME = f"taskfleet-test-{os.getpid()}"
WITHIN_S = 30


@pytest.fixture
def cli() -> DockerCli:
    return DockerCli(os.environ)


@asynccontextmanager
async def started(cli: DockerCli, folder: Path) -> AsyncIterator[tuple[DockerContainer, Path]]:
    (folder / "test").mkdir()
    (folder / "test/Dockerfile").write_text(DOCKERFILE)
    (folder / "program.py").write_text(PROGRAM)
    engine = DockerEngine(cli)
    asset = ImageAsset(folder, "test/Dockerfile", None, {}, "images", DEFINITION.image_tag)
    await engine.provide(asset)
    log = folder / "log"
    container = await engine.start(ContainerOrder(NAME, DEFINITION, {"TOLD": "yes"}, log))
    try:
        async with asyncio.timeout(WITHIN_S):
            while "\n" not in log.read_text():  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
        yield container, log
    finally:
        await container.remove()


def test_a_container_is_as_its_definition_says(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (_, log):
            assert json.loads(log.read_text()) == {
                "arguments": ["run"],
                "told": "yes",
                "user": [10001, 10001],
                "root": False,
                "tmp": True,
                "capabilities": "0000000000000000",
            }

    asyncio.run(check())


def test_it_gets_its_images_stop_signal_and_its_exit_code_is_told(
    cli: DockerCli, tmp_path: Path
) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (container, log):
            await container.ask_to_stop()
            async with asyncio.timeout(WITHIN_S):
                assert await container.wait() == 7
            assert "heard 2" in log.read_text()

    asyncio.run(check())


def test_a_command_runs_inside_it(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (container, _):
            code = "import os, sys; print(os.environ['TOLD'], os.getuid()); sys.exit(3)"
            assert await container.execute(["python", "-c", code]) == (3, "yes 10001")

    asyncio.run(check())


def test_nothing_is_left_of_it(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path):
            pass
        assert await cli.attempt("ps", "--all", "--quiet", f"--filter=name={NAME}") == (0, "")

    asyncio.run(check())


def test_only_what_a_dead_rehearsal_left_is_removed(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path):
            orphan = f"{NAME}-orphan"
            dead = 2**22  # more than Linux gives to any process
            await cli.run(
                *("create", f"--name={orphan}", f"--label={LABEL}={dead}"),
                "taskfleet-rehearsal-test:" + "0" * 32,
                purpose="Leaving a container behind",
            )
            await docker_engine.remove_orphans(cli)
            _, left = await cli.attempt(
                "ps", "--all", f"--filter=name={NAME}", "--format={{.Names}}"
            )
            assert left.split() == [NAME]

    asyncio.run(check())


def test_no_engine_is_no_error() -> None:
    nowhere = DockerCli({"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere.sock"})

    assert not asyncio.run(docker_engine.is_available(nowhere))
    assert not asyncio.run(docker_engine.is_available(DockerCli({"PATH": "/nowhere"})))
