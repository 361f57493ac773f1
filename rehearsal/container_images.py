"""Builds the images as the CDK would, and registers them so that the CDK skips them."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from rehearsal.assembly import ImageAsset
from rehearsal.docker_cli import DockerCli

if TYPE_CHECKING:
    from types_boto3_ecr import ECRClient


def docker_tag(asset: ImageAsset) -> str:
    """The image's name in the Docker engine, with the hash of its sources."""
    return f"taskfleet-rehearsal-{asset.name}:{asset.tag[:32]}"


async def build(asset: ImageAsset, docker: DockerCli) -> None:
    """Build from the asset's own directory and Dockerfile."""
    platform = (f"--platform={asset.platform}",) if asset.platform else ()
    await docker.run(
        *("build", "--quiet", f"--tag={docker_tag(asset)}", *platform),
        *(f"--build-arg={name}={value}" for name, value in asset.build_args.items()),
        f"--file={asset.directory / asset.dockerfile}",
        str(asset.directory),
        purpose=f"Building the image of {asset.dockerfile}",
    )


def register(asset: ImageAsset, ecr: "ECRClient") -> None:
    """Create the image's manifest in ECR, so that the CDK neither builds nor pushes the image.

    moto stores manifests without layers and identifies them by the digests of their layers, so
    the digest must be unique.
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
