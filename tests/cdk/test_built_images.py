"""The two images, really built from the CDK's assets and really run as Fargate runs them.

Needs a Docker engine that has or can pull the base image: ``make test-images``.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from urllib.request import urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cdk.template.templates import Templates
from local import aws_resources
from local.ports import free_port

pytestmark = pytest.mark.docker

LOOPBACK = "127.0.0.1"
BASE = "public.ecr.aws/docker/library/python:3.13-slim-trixie"
MB = 1_000_000
MOST_ADDED_BYTES = {"api": 70 * MB, "worker": 85 * MB}
LOCKED_DOWN = ("--read-only", "--cap-drop", "ALL", "--network", "host", "--tmpfs", "/tmp")  # noqa: S108
WAIT_S = 20

services = pytest.mark.parametrize("service", list(MOST_ADDED_BYTES))


def docker(*arguments: str) -> str:
    """What the command prints, on either stream: a container's logs come on both."""
    command = [shutil.which("docker") or "docker", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def build(deployment: Templates, service: str) -> str:
    """As the CDK's command line would: from the asset that the synthesis staged."""
    (manifest,) = deployment.folder.glob(f"*-{service}.assets.json")
    (image,) = json.loads(manifest.read_text())["dockerImages"].values()
    context = deployment.folder / image["source"]["directory"]
    dockerfile = context / image["source"]["dockerFile"]
    tag = f"taskfleet-test-{service}"
    docker("build", "--tag", tag, "--file", str(dockerfile), str(context))
    return tag


@pytest.fixture(scope="module")
def built(deployments: Mapping[str, Templates]) -> dict[str, str]:
    """Image tags by service."""
    return {service: build(deployments["dev"], service) for service in MOST_ADDED_BYTES}


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Of containers that talk to an embedded AWS."""
    port = free_port()
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=port)
    server.start()
    told = {
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    session = boto3.Session("test", "test", region_name=told["AWS_REGION"])
    endpoint = told["AWS_ENDPOINT_URL"]
    resources = aws_resources.create(
        dynamodb=session.client("dynamodb", endpoint_url=endpoint),
        sqs=session.client("sqs", endpoint_url=endpoint),
        s3=session.client("s3", endpoint_url=endpoint),
        secretsmanager=session.client("secretsmanager", endpoint_url=endpoint),
    )
    yield {
        **told,
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


def wait_for_log(container: str, words: str) -> None:
    until = time.monotonic() + WAIT_S
    while words not in docker("logs", container):
        assert time.monotonic() < until, docker("logs", container)
        time.sleep(0.1)


def python_in(image: str, code: str) -> str:
    return docker("run", "--rm", *LOCKED_DOWN, "--entrypoint", "python", image, "-c", code)


@services
def test_an_image_adds_little_to_its_base(built: Mapping[str, str], service: str) -> None:
    """The figure is printed with ``-s``."""
    size, base = (
        int(docker("image", "inspect", "--format={{.Size}}", image))
        for image in (built[service], BASE)
    )

    print(f"{service}: {(size - base) / MB:.1f} MB on top of the base")
    assert size - base < MOST_ADDED_BYTES[service]


@services
def test_an_image_has_no_compiler_and_no_tests(built: Mapping[str, str], service: str) -> None:
    found = python_in(
        built[service],
        "import pathlib, shutil\n"
        "print([shutil.which(tool) for tool in ('cc', 'gcc', 'make')])\n"
        "roots = map(pathlib.Path, ('/app', '/opt/taskfleet'))\n"
        "print([path for root in roots for path in root.rglob('tests')])",
    )

    assert found == "[None, None, None]\n[]"


@pytest.mark.parametrize(("service", "module"), [("api", "PIL"), ("worker", "flask")])
def test_an_image_lacks_what_its_service_must_not_have(
    built: Mapping[str, str], service: str, module: str
) -> None:
    found = python_in(
        built[service], f"import importlib.util; print(importlib.util.find_spec('{module}'))"
    )

    assert found == "None"


@services
def test_a_container_can_write_to_tmp_only(built: Mapping[str, str], service: str) -> None:
    written = python_in(
        built[service],
        "import os, pathlib\n"
        "for folder in ('/', '/app', '/opt/taskfleet', '/tmp'):\n"
        "    try: pathlib.Path(folder, 'x').touch(); print(folder, os.getuid())\n"
        "    except OSError: pass",
    )

    assert written == "/tmp 10001"  # noqa: S108


def test_the_api_serves_and_leaves_politely(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    with running(built["api"], environment) as container:
        wait_for_log(container, "Booting worker")
        docker("exec", container, "python", "-m", "services.api.health")
        url = f"http://{LOOPBACK}:{environment['API_PORT']}/readyz"
        with urlopen(url, timeout=WAIT_S) as answer:
            assert answer.status == HTTPStatus.OK

        docker("stop", "--time=30", container)
        assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"


def test_the_worker_polls_and_leaves_politely(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    with running(built["worker"], environment) as container:
        wait_for_log(container, "worker started")
        docker("exec", container, "python", "-m", "services.worker", "health")

        docker("stop", "--time=30", container)
        assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"


def test_the_reconciler_is_a_run_of_the_workers_image(
    built: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    logged = docker(
        "run", "--rm", *LOCKED_DOWN, *variables(environment), built["worker"], "reconcile"
    )

    assert "reconciled" in logged
