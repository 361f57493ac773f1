"""The images, built as the CDK would build them, and put where it looks before it does."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from rehearsal.assembly import ImageAsset
from rehearsal.docker_cli import DockerCli

if TYPE_CHECKING:
    from types_boto3_ecr import ECRClient


def local_name(asset: ImageAsset) -> str:
    """What the image is called in the Docker engine; the tag is the hash of its sources."""
    return f"taskfleet-rehearsal-{asset.name}:{asset.tag[:32]}"


async def build(asset: ImageAsset, docker: DockerCli) -> None:
    """Build from the asset's own directory and file. The engine's cache makes a repeat cheap."""
    platform = (f"--platform={asset.platform}",) if asset.platform else ()
    await docker.run(
        *("build", "--quiet", f"--tag={local_name(asset)}", *platform),
        *(f"--build-arg={name}={value}" for name, value in asset.build_args.items()),
        f"--file={asset.directory / asset.dockerfile}",
        str(asset.directory),
        purpose=f"Building the image of {asset.dockerfile}",
    )


def register(asset: ImageAsset, ecr: "ECRClient") -> None:
    """Tell the registry that the image is there, so that the CDK builds and pushes nothing.

    moto's registry keeps manifests only, and tells them apart by the digests of their layers.
    """
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "digest": f"sha256:{asset.tag}",
        "size": 0,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {**layer, "mediaType": "application/vnd.docker.container.image.v1+json"},
        "layers": [layer],
    }
    with suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(
            repositoryName=asset.repository,
            imageTag=asset.tag,
            imageManifest=json.dumps(manifest),
        )
