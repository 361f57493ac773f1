"""The distribution `taskfleet`: the Python client, and `taskctl` with the extra `cli`."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(ROOT / ".tools/bin/uv")


def run(*command: str | Path) -> str:
    """Run a command outside the repository, so that only installed packages are importable."""
    return subprocess.run(command, cwd="/", stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run((sys.executable, *build), cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_contains_the_client_taskctl_and_the_code_they_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = ("taskfleet", "taskctl", "services/common")
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert files == expected | {"services/__init__.py", "taskfleet/py.typed"}


def test_the_extra_for_taskctl_includes_the_dependencies_of_the_common_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    common = set(project["dependency-groups"]["common"])
    assert common < set(project["project"]["optional-dependencies"]["cli"])


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of uv.lock."""
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    export = ("export", "--frozen", "--quiet", "--all-extras", "--no-default-groups")
    plain = ("--no-emit-project", "--no-hashes", "--output-file", str(path))
    subprocess.run((UV, *export, *plain), cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return path


def install(requirement: str, constraints: Path, environment: Path) -> Path:
    """Install into a new virtual environment and return its folder of programs."""
    run(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, environment)
    to = ("--python", environment, "--constraint", constraints)
    run(UV, "pip", "install", "--quiet", *to, requirement)
    return environment / "bin"


def installed(programs: Path) -> set[str]:
    frozen = run(UV, "pip", "freeze", "--quiet", "--python", programs / "python")
    return {line.partition("==")[0].partition(" @ ")[0] for line in frozen.splitlines()}


@pytest.mark.packages
def test_the_client_installs_with_urllib3_alone(
    wheel: Path, constraints: Path, tmp_path: Path
) -> None:
    programs = install(f"taskfleet @ {wheel.as_uri()}", constraints, tmp_path / "client")

    assert installed(programs) == {"taskfleet", "urllib3"}
    assert run(programs / "python", "-c", "import taskfleet") == ""


@pytest.mark.packages
def test_taskctl_installs_without_the_frameworks_of_the_services(
    wheel: Path, constraints: Path, tmp_path: Path
) -> None:
    programs = install(f"taskfleet[cli] @ {wheel.as_uri()}", constraints, tmp_path / "taskctl")

    assert "Usage: taskctl" in run(programs / "taskctl", "--help")
    found = "import importlib.util as u; print(*filter(u.find_spec, ('flask', 'PIL', 'aws_cdk')))"
    assert run(programs / "python", "-c", found) == "\n"
