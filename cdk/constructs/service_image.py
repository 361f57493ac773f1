"""The two container images, built from one context.

The asset of an image excludes the folder of the other service. A change in one service therefore
changes neither the hash nor the running containers of the other.
"""

from pathlib import Path
from typing import Literal

from aws_cdk import IgnoreMode
from aws_cdk.aws_ecr_assets import DockerImageAsset, Platform
from constructs import Construct

from cdk.settings import Settings

CONTEXT = Path(__file__).parents[2] / "services"

PLATFORMS = {"X86_64": Platform.LINUX_AMD64, "ARM64": Platform.LINUX_ARM64}

OTHER_SERVICE = {"api": "worker", "worker": "api"}

Service = Literal["api", "worker"]


class ServiceImage(DockerImageAsset):
    """The image of `service`. The reconciler uses the worker's image with another command."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        service: Service,
        context: Path = CONTEXT,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            directory=str(context),
            file=f"{service}/Dockerfile",
            exclude=[OTHER_SERVICE[service]],
            ignore_mode=IgnoreMode.DOCKER,
            platform=PLATFORMS[settings.cpu_architecture],
            build_args={"BASE_IMAGE": settings.base_image} if settings.base_image else None,
        )
