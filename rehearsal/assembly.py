"""Reads stacks and image assets from the CDK's cloud assembly.

Source: the schemas of ``aws-cdk-lib``'s ``cloud-assembly-schema``.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageAsset:
    """An image that is built from `dockerfile` in `directory` and pushed as `repository`:`tag`."""

    directory: Path
    dockerfile: str
    platform: str | None
    build_args: Mapping[str, str]
    repository: str
    tag: str

    @property
    def name(self) -> str:
        """The name of the Dockerfile's folder."""
        return Path(self.dockerfile).parent.name


def stacks(assembly: Path) -> Sequence[str]:
    """The names of the stacks."""
    manifest = json.loads((assembly / "manifest.json").read_text())
    return [
        artifact["properties"].get("stackName", name)
        for name, artifact in manifest["artifacts"].items()
        if artifact["type"] == "aws:cloudformation:stack"
    ]


def resource_types(assembly: Path) -> Collection[str]:
    """The resource types in all templates."""
    return {
        resource["Type"]
        for template in assembly.glob("*.template.json")
        for resource in json.loads(template.read_text())["Resources"].values()
    }


def image_assets(assembly: Path) -> Sequence[ImageAsset]:
    """All image assets. An image that several stacks use is returned once."""
    return list({asset.tag: asset for asset in _all_image_assets(assembly)}.values())


def _all_image_assets(assembly: Path) -> Iterator[ImageAsset]:
    for manifest in sorted(assembly.glob("*.assets.json")):
        images: Mapping[str, Any] = json.loads(manifest.read_text()).get("dockerImages", {})
        for image in images.values():
            source = image["source"]
            (destination,) = image["destinations"].values()
            yield ImageAsset(
                directory=assembly / source["directory"],
                dockerfile=source["dockerFile"],
                platform=source.get("platform"),
                build_args=source.get("dockerBuildArgs", {}),
                repository=destination["repositoryName"],
                tag=destination["imageTag"],
            )
