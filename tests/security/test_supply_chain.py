"""Every download is pinned by its hash."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_uv_is_pinned_by_hash() -> None:
    requirements = (ROOT / "make/uv.txt").read_text()

    assert re.search(r"^uv==\S+ \\\n    --hash=sha256:", requirements, re.MULTILINE)
    assert "--require-hashes --requirement make/uv.txt" in (ROOT / "Makefile").read_text()


def test_every_locked_package_has_hashes_and_comes_from_pypi() -> None:
    packages = (ROOT / "uv.lock").read_text().split("[[package]]")[1:]
    sources = {re.findall(r"^source = (.*)$", package, re.MULTILINE)[0] for package in packages}
    files = [
        line
        for package in packages
        for line in re.findall(r"^.*\{ url = .*$", package, re.MULTILINE)
    ]

    assert sources == {'{ registry = "https://pypi.org/simple" }', '{ virtual = "." }'}
    assert files
    assert all('hash = "sha256:' in line for line in files)


def test_the_cdk_cli_is_pinned_by_hash() -> None:
    packages = json.loads((ROOT / "cdk/cli/package-lock.json").read_text())["packages"]

    assert all(
        package["integrity"].startswith("sha512-") for name, package in packages.items() if name
    )
    assert re.search(r"^\s+ci --prefix cdk/cli", (ROOT / "make/cdk.mk").read_text(), re.MULTILINE)
