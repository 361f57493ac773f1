"""Builds both images from the CDK's assets and runs them as Fargate does.

Needs a Docker engine that has or can pull the base image: ``make test-images``.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cdk.template.templates import Templates
from local import aws_resources
from local.ports import free_port

pytestmark = pytest.mark.docker

LOOPBACK = "127.0.0.1"
DOCKERFILE = Path(__file__).parents[2] / "services/api/Dockerfile"
BASE = (
    os.environ.get("BASE_IMAGE")
    or DOCKERFILE.read_text().partition("ARG BASE_IMAGE=")[2].split()[0]
)
"""The pinned base image, or the one in the variable ``BASE_IMAGE``."""
MB = 1_000_000
MAX_ADDED_BYTES = {"api": 70 * MB, "worker": 85 * MB}
LOCKED_DOWN = ("--read-only", "--cap-drop", "ALL", "--network", "host", "--tmpfs", "/tmp")  # noqa: S108
WAIT_S = 20

STARTED = {"api": "Booting worker", "worker": "worker started"}
"""What a service logs when it has started."""
ENTRY_MODULES = {"api": "services.api.wsgi", "worker": "services.worker.__main__"}
HEALTH_CHECKS = {
    service: ("python", "-I", "-S", f"services/{service}/probe.py") for service in ENTRY_MODULES
}

services = pytest.mark.parametrize("service", list(MAX_ADDED_BYTES))


def docker(*arguments: str) -> str:
    """The command's output from both streams, since a container's logs use both."""
    command = [shutil.which("docker") or "docker", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def build(deployment: Templates, service: str) -> str:
    """Build an image from the staged asset, as the CDK CLI does."""
    (manifest,) = deployment.folder.glob(f"*-{service}.assets.json")
    (image,) = json.loads(manifest.read_text())["dockerImages"].values()
    context = deployment.folder / image["source"]["directory"]
    dockerfile = context / image["source"]["dockerFile"]
    tag = f"taskfleet-test-{service}"
    base = (
        [f"--build-arg=BASE_IMAGE={os.environ['BASE_IMAGE']}"] if "BASE_IMAGE" in os.environ else []
    )
    docker("build", *base, "--tag", tag, "--file", str(dockerfile), str(context))
    return tag


@pytest.fixture(scope="module")
def built(deployments: Mapping[str, Templates]) -> dict[str, str]:
    """Image tags by service."""
    return {service: build(deployments["dev"], service) for service in MAX_ADDED_BYTES}


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """The environment of containers that use an embedded AWS."""
    port = free_port()
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=port)
    server.start()
    connection = {
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    session = boto3.Session("test", "test", region_name=connection["AWS_REGION"])
    endpoint = connection["AWS_ENDPOINT_URL"]
    resources = aws_resources.create(
        dynamodb=session.client("dynamodb", endpoint_url=endpoint),
        sqs=session.client("sqs", endpoint_url=endpoint),
        s3=session.client("s3", endpoint_url=endpoint),
        secretsmanager=session.client("secretsmanager", endpoint_url=endpoint),
    )
    yield {
        **connection,
        **resources.environment(),
        "API_PORT": str(free_port()),
        "API_PROCESSES": "1",
        "RECEIVE_WAIT_S": "1",
    }
    server.stop()


def size_bytes(image: str) -> int:
    return int(docker("image", "inspect", "--format={{.Size}}", image))


def variables(environment: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]


@contextmanager
def running(image: str, environment: Mapping[str, str]) -> Iterator[str]:
    container = docker("run", "-d", *LOCKED_DOWN, *variables(environment), image)
    try:
        yield container
    finally:
        docker("rm", "-f", container)


def wait_for_log(container: str, text: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while text not in docker("logs", container):
        assert time.monotonic() < deadline, docker("logs", container)
        time.sleep(0.1)


def python_in(image: str, code: str) -> str:
    return docker("run", "--rm", *LOCKED_DOWN, "--entrypoint", "python", image, "-c", code)


@services
def test_an_image_adds_little_to_its_base(built: Mapping[str, str], service: str) -> None:
    """Prints the size; show it with ``-s``."""
    size, base = (
        int(docker("image", "inspect", "--format={{.Size}}", image))
        for image in (built[service], BASE)
    )

    print(f"{service}: {(size - base) / MB:.1f} MB on top of the base")
    assert size - base < MAX_ADDED_BYTES[service]


@services
def test_an_image_contains_no_compiler_and_no_tests(built: Mapping[str, str], service: str) -> None:
    found = python_in(
        built[service],
        "import pathlib, shutil\n"
        "print([shutil.which(tool) for tool in ('cc', 'gcc', 'make')])\n"
        "roots = map(pathlib.Path, ('/app', '/opt/taskfleet'))\n"
        "print([path for root in roots for path in root.rglob('tests')])",
    )

    assert found == "[None, None, None]\n[]"


@pytest.mark.parametrize(("service", "module"), [("api", "PIL"), ("worker", "flask")])
def test_an_image_lacks_the_libraries_of_the_other_service(
    built: Mapping[str, str], service: str, module: str
) -> None:
    found = python_in(
        built[service], f"import importlib.util; print(importlib.util.find_spec('{module}'))"
    )

    assert found == "None"


@services
def test_a_container_can_only_write_to_tmp(built: Mapping[str, str], service: str) -> None:
    written = python_in(
        built[service],
        "import os, pathlib\n"
        "for folder in ('/', '/app', '/opt/taskfleet', '/tmp'):\n"
        "    try: pathlib.Path(folder, 'x').touch(); print(folder, os.getuid())\n"
        "    except OSError: pass",
    )

    assert written == "/tmp 10001"  # noqa: S108


def test_the_api_serves_and_stops_cleanly(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    with running(built["api"], environment) as container:
        wait_for_log(container, STARTED["api"])
        docker("exec", container, *HEALTH_CHECKS["api"])
        url = f"http://{LOOPBACK}:{environment['API_PORT']}/readyz"
        with urlopen(url, timeout=WAIT_S) as response:
            assert response.status == HTTPStatus.OK

        docker("stop", "--time=30", container)
        assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"


def test_the_worker_starts_and_stops_cleanly(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    with running(built["worker"], environment) as container:
        wait_for_log(container, STARTED["worker"])
        docker("exec", container, *HEALTH_CHECKS["worker"])

        docker("stop", "--time=30", container)
        assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"


@services
def test_the_health_check_needs_a_fraction_of_the_imports_of_its_service(
    built: Mapping[str, str], environment: Mapping[str, str], service: str
) -> None:
    """A health check that imports the application times out on a busy fraction of a vCPU.

    Prints the CPU time; show it with ``-s``.
    """
    with running(built[service], environment) as container:
        wait_for_log(container, STARTED[service])
        probe_s = cpu_s(container, HEALTH_CHECKS[service])
        imports_s = cpu_s(container, ("python", "-c", f"import {ENTRY_MODULES[service]}"))

    print(
        f"{service}: health check {probe_s * 1e3:.0f} ms, imports {imports_s * 1e3:.0f} ms of CPU"
    )
    assert probe_s < imports_s / 5


def cpu_s(container: str, command: Sequence[str]) -> float:
    """CPU time of `command` in a container: the least of three runs."""
    code = (
        "import resource, subprocess\n"
        f"subprocess.run({list(command)}, check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    runs = (docker("exec", container, "python", "-c", code) for _ in range(3))
    return min(float(run.splitlines()[-1]) for run in runs)


def test_the_reconciler_runs_from_the_workers_image(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    logged = docker(
        "run", "--rm", *LOCKED_DOWN, *variables(environment), built["worker"], "reconcile"
    )

    assert "reconciled" in logged
