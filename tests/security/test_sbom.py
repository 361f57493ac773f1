"""The SBOMs are valid CycloneDX and list exactly what the images install."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
SERVICES = ("api", "worker")

services = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    make = shutil.which("make") or "make"
    skip_sync = ("--old-file", ".venv/.synced")
    subprocess.run([make, *skip_sync, "sbom", f"SBOM_FOLDER={folder}"], cwd=ROOT, check=True)
    return folder


def components(folder: Path, service: str) -> list[dict[str, Any]]:
    sbom: dict[str, list[dict[str, Any]]] = json.loads((folder / f"{service}.cdx.json").read_text())
    return sbom["components"]


@services
def test_the_sbom_is_valid(folder: Path, service: str) -> None:
    text = (folder / f"{service}.cdx.json").read_text()

    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None


@services
def test_the_sbom_lists_exactly_what_the_image_installs(folder: Path, service: str) -> None:
    requirements = (ROOT / "services" / service / "requirements.txt").read_text()
    installed = set(re.findall(r"^(\S+)==(\S+)", requirements, re.MULTILINE))

    assert {(each["name"], each["version"]) for each in components(folder, service)} == installed


@services
def test_every_component_has_a_package_url_and_hashes(folder: Path, service: str) -> None:
    for component in components(folder, service):
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        hashes = [
            each["alg"] for file in component["externalReferences"] for each in file["hashes"]
        ]
        assert set(hashes) == {"SHA-256"}
