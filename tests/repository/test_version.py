"""pyproject.toml has the version; everything else agrees with it."""

import tomllib
from pathlib import Path

from services.common.version import VERSION

ROOT = Path(__file__).parents[2]
RELEASED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_services_have_the_version_of_the_project() -> None:
    assert VERSION == RELEASED


def test_the_lock_has_the_version_of_the_project() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    [locked] = [package for package in packages if package["name"] == "taskfleet"]

    assert locked["version"] == RELEASED
