"""The two container images, built from one context.

Each image's asset leaves the other service's folder out, so a change in one leaves the hash, and
so the running containers, of the other alone.
"""

from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk.aws_ecr_assets import DockerImageAsset, Platform
from aws_cdk.aws_ecs import ContainerImage
from constructs import Construct

from cdk.settings import Settings

CONTEXT = Path(__file__).parent.parent / "services"

PLATFORMS = {"X86_64": Platform.LINUX_AMD64, "ARM64": Platform.LINUX_ARM64}


def api_image(scope: Construct, settings: Settings) -> ContainerImage:
    return _image(scope, settings, service="api", leave_out="worker")


def worker_image(scope: Construct, settings: Settings) -> ContainerImage:
    """Also the reconciler's: the same code run with another command."""
    return _image(scope, settings, service="worker", leave_out="api")


def _image(scope: Construct, settings: Settings, *, service: str, leave_out: str) -> ContainerImage:
    asset = DockerImageAsset(
        scope,
        "Image",
        directory=str(CONTEXT),
        file=f"{service}/Dockerfile",
        exclude=[f"/{leave_out}", "**/__pycache__"],
        ignore_mode=IgnoreMode.DOCKER,
        platform=PLATFORMS[settings.cpu_architecture],
    )
    return ContainerImage.from_docker_image_asset(asset)
