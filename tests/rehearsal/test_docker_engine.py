"""The Docker engine runs containers as the task definition describes them."""

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
from rehearsal.ecs.engine import ContainerSpec
from tests.rehearsal.definitions import VERSION_1

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


def stop(signum, _frame):
    print("received", signum, flush=True)
    sys.exit(7)


signal.signal(signal.SIGINT, stop)
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps({
    "arguments": sys.argv[1:],
    "variable": os.environ["VARIABLE"],
    "user": [os.getuid(), os.getgid()],
    "root": writable("/"),
    "tmp": writable("/tmp"),
    "capabilities": status.partition("CapBnd:")[2].split()[0],
}), flush=True)
time.sleep(600)
"""
DEFINITION = replace(VERSION_1, user="10001:10001", command=["run"], image_tag="0" * 64)
NAME = f"taskfleet-test-{os.getpid()}"
TIMEOUT_S = 30


@pytest.fixture
def cli() -> DockerCli:
    return DockerCli(os.environ)


@asynccontextmanager
async def started(cli: DockerCli, folder: Path) -> AsyncIterator[tuple[DockerContainer, Path]]:
    """A container and its log, after its first line of output."""
    (folder / "test").mkdir()
    (folder / "test/Dockerfile").write_text(DOCKERFILE)
    (folder / "program.py").write_text(PROGRAM)
    engine = DockerEngine(cli)
    asset = ImageAsset(folder, "test/Dockerfile", None, {}, "images", DEFINITION.image_tag)
    await engine.prepare_image(asset)
    log = folder / "log"
    container = await engine.start(ContainerSpec(NAME, DEFINITION, {"VARIABLE": "yes"}, log))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while "\n" not in log.read_text():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        yield container, log
    finally:
        await container.remove()


def test_a_container_has_the_user_root_and_capabilities_of_its_definition(
    cli: DockerCli, tmp_path: Path
) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (_, log):
            assert json.loads(log.read_text()) == {
                "arguments": ["run"],
                "variable": "yes",
                "user": [10001, 10001],
                "root": False,
                "tmp": True,
                "capabilities": "0000000000000000",
            }

    asyncio.run(check())


def test_a_container_gets_the_stop_signal_of_its_image_and_returns_its_exit_code(
    cli: DockerCli, tmp_path: Path
) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (container, log):
            await container.send_stop_signal()
            async with asyncio.timeout(TIMEOUT_S):
                assert await container.wait() == 7
            assert "received 2" in log.read_text()

    asyncio.run(check())


def test_a_command_runs_inside_the_container(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path) as (container, _):
            code = "import os, sys; print(os.environ['VARIABLE'], os.getuid()); sys.exit(3)"
            assert await container.execute(["python", "-c", code]) == (3, "yes 10001")

    asyncio.run(check())


def test_a_removed_container_is_gone(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path):
            pass
        assert await cli.attempt("ps", "--all", "--quiet", f"--filter=name={NAME}") == (0, "")

    asyncio.run(check())


def test_only_containers_of_dead_rehearsals_are_orphans(cli: DockerCli, tmp_path: Path) -> None:
    async def check() -> None:
        async with started(cli, tmp_path):
            orphan = f"{NAME}-orphan"
            unused_pid = 2**22  # above the highest process ID of Linux (proc(5), pid_max)
            await cli.run(
                *("create", f"--name={orphan}", f"--label={LABEL}={unused_pid}"),
                "taskfleet-rehearsal-test:" + "0" * 32,
                purpose="Creating an orphaned container",
            )
            await docker_engine.remove_orphans(cli)
            _, remaining = await cli.attempt(
                "ps", "--all", f"--filter=name={NAME}", "--format={{.Names}}"
            )
            assert remaining.split() == [NAME]

    asyncio.run(check())


def test_docker_is_unavailable_without_an_engine_or_without_the_command() -> None:
    without_engine = DockerCli({"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere.sock"})
    without_command = DockerCli({"PATH": "/nowhere"})

    assert not asyncio.run(docker_engine.is_available(without_engine))
    assert not asyncio.run(docker_engine.is_available(without_command))
