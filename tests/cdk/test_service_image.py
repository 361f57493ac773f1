"""The contents of the two images, checked without building them."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from aws_cdk import App, Stack

from cdk.constructs.hardened_task import UNPRIVILEGED_USER
from cdk.constructs.service_image import CONTEXT, Service, ServiceImage
from cdk.settings import Settings
from cdk.template.templates import Templates
from tests.cdk.synthesized import ROOT, deployed

SERVICES: tuple[Service, ...] = ("api", "worker")

services = pytest.mark.parametrize("service", SERVICES)


def dockerfile(service: str) -> str:
    return (ROOT / "services" / service / "Dockerfile").read_text()


def locked(service: str) -> str:
    """The versions and hashes in uv.lock for the service's image."""
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    exported = subprocess.run(
        [uv, *EXPORT, "--only-group", service], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return exported.stdout


EXPORT = [
    "export",
    "--frozen",
    "--quiet",
    "--no-header",
    "--no-annotate",
]


@services
def test_an_image_installs_the_locked_versions(service: str) -> None:
    requirements = ROOT / "services" / service / "requirements.txt"

    assert requirements.read_text() == locked(service), "run `make requirements`"


@services
def test_every_requirement_has_a_hash(service: str) -> None:
    for requirement in re.findall(r"^\S+==.*(?:\n .*)*", locked(service), re.MULTILINE):
        assert "--hash=sha256:" in requirement
    assert "--require-hashes" in dockerfile(service)


def test_the_api_has_no_image_decoder_and_the_worker_no_flask() -> None:
    assert "pillow==" not in locked("api")
    assert "flask==" not in locked("worker")
    assert "pillow==" in locked("worker")
    assert "flask==" in locked("api")


@services
def test_both_images_use_the_same_base(service: str) -> None:
    """Pinned by its digest, so that an upgrade of Debian changes a file and is deployed."""
    base = r"public\.ecr\.aws/docker/library/python:3\.13-slim-trixie@sha256:[0-9a-f]{64}"

    (pinned,) = re.findall(r"^ARG BASE_IMAGE=(.*)$", dockerfile(service), re.MULTILINE)

    assert re.fullmatch(base, pinned)
    assert f"ARG BASE_IMAGE={pinned}\n" in dockerfile("api")
    assert set(re.findall(r"^FROM (\S+)", dockerfile(service), re.MULTILINE)) == {"${BASE_IMAGE}"}


def test_another_base_image_can_be_used(tmp_path: Path) -> None:
    mirrored = deployed(tmp_path, profile="dev", base_image="registry.example.org/python:3.13")

    for stack in ("api", "worker"):
        (manifest,) = mirrored.folder.glob(f"*-{stack}.assets.json")
        (image,) = json.loads(manifest.read_text())["dockerImages"].values()
        assert image["source"]["dockerBuildArgs"] == {
            "BASE_IMAGE": "registry.example.org/python:3.13"
        }


@services
def test_an_image_runs_as_the_unprivileged_user(service: str) -> None:
    assert f"\nUSER {UNPRIVILEGED_USER}\n" in dockerfile(service)


@services
def test_an_image_starts_its_service_without_a_shell(service: str) -> None:
    """A shell as the first process swallows SIGTERM. The JSON form starts no shell."""
    (entry_point,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile(service), re.MULTILINE)

    assert json.loads(entry_point)[0] in {"gunicorn", "python"}


@services
def test_botocore_keeps_only_the_services_that_are_called(service: str) -> None:
    (kept,) = re.findall(r'^ARG AWS_SERVICES="(.*)"$', dockerfile(service), re.MULTILINE)

    assert set(kept.split()) == called_services()


def called_services() -> set[str]:
    """The AWS services for which common/aws.py creates clients."""
    tree = ast.parse((ROOT / "services/common/aws.py").read_text())
    return {
        str(ast.literal_eval(call.args[0]))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "client"
    }


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A copy of the images' context that a test may change."""
    copy = tmp_path / "services"
    shutil.copytree(CONTEXT, copy)
    return copy


def hashes(context: Path, outdir: Path, settings: Settings) -> dict[str, str]:
    stack = Stack(App(outdir=str(outdir)), "Images")
    return {
        service: ServiceImage(
            stack, service, settings=settings, service=service, context=context
        ).asset_hash
        for service in SERVICES
    }


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        ("api/wsgi.py", {"api"}),
        ("api/requirements.txt", {"api"}),
        ("worker/processor.py", {"worker"}),
        ("worker/Dockerfile", {"worker"}),
        ("common/task.py", {"api", "worker"}),
        ("common/__pycache__/task.cpython-313.pyc", set()),
    ],
)
def test_a_changed_file_only_rebuilds_the_images_that_contain_it(
    dev: Templates, context: Path, tmp_path: Path, changed: str, rebuilt: set[str]
) -> None:
    before = hashes(context, tmp_path / "before", dev.settings)

    file = context / changed
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as appended:
        appended.write("# changed\n")
    after = hashes(context, tmp_path / "after", dev.settings)

    assert {service for service in SERVICES if before[service] != after[service]} == rebuilt


def test_images_are_built_for_the_architecture_of_the_containers(deployment: Templates) -> None:
    platforms = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
    for stack in SERVICES:
        manifest = json.loads(next(deployment.folder.glob(f"*-{stack}.assets.json")).read_text())
        (image,) = manifest["dockerImages"].values()
        assert image["source"]["platform"] == platforms[deployment.settings.cpu_architecture]
