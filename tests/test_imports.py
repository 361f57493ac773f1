"""The import rules of docs/code.md.

They keep the API's image without an image decoder, the worker's without a web framework, and the
services without knowledge of their deployment.
"""

import ast
import sys
import tomllib
from collections.abc import Iterable
from graphlib import TopologicalSorter

import pytest

from docs.generator.imports import PRODUCT, ROOT, TOOLS, package_edges, read_imports

IMPORTS = read_imports()
CDK = ("app", "cdk")
WEB = ("flask", "flask_openapi3", "gunicorn", "werkzeug")
AWS = ("boto3", "botocore")


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def importers(of: Iterable[str], *, among: Iterable[str], deferred: bool = True) -> set[str]:
    return {
        edge.module
        for edge in IMPORTS
        if within(edge.module, *among)
        and within(edge.imported, *of)
        and (deferred or edge.at_import_time)
    }


def loaded_with(module: str) -> set[str]:
    """Every module that `import module` loads, directly or not."""
    loaded: set[str] = set()
    pending = {module}
    while pending:
        loaded |= pending
        pending = {
            edge.imported for edge in IMPORTS if edge.module in pending and edge.at_import_time
        } - loaded
    return loaded


def test_every_package_is_product_or_tool() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert packages | {"app"} == {*PRODUCT, *TOOLS}


@pytest.mark.parametrize(
    ("importer", "forbidden"),
    [
        ("services.common", ("services.api", "services.worker", *CDK, *TOOLS)),
        ("services.api", ("services.worker", *CDK, *TOOLS)),
        ("services.worker", ("services.api", *CDK, *TOOLS)),
        ("app", ("services", *TOOLS)),
        ("cdk", ("services", "app", *TOOLS)),
        ("cdk.constructs", ("cdk.stacks",)),
    ],
)
def test_a_package_imports_only_what_it_may(importer: str, forbidden: tuple[str, ...]) -> None:
    assert importers(forbidden, among=[importer]) == set()


def test_the_client_imports_only_urllib3_and_the_standard_library() -> None:
    allowed = ("taskfleet", "urllib3", *sys.stdlib_module_names)
    imported = {edge.imported for edge in IMPORTS if within(edge.module, "taskfleet")}

    assert [module for module in imported if not within(module, *allowed)] == []


@pytest.mark.parametrize(
    "module", ["services.common.task", "services.common.errors", "services.common.operations"]
)
def test_the_rules_of_a_task_load_no_aws_library(module: str) -> None:
    assert importers(AWS, among=[module]) == set()
    assert [loaded for loaded in loaded_with(module) if within(loaded, *AWS)] == []


def test_only_the_api_imports_a_web_framework() -> None:
    found = importers(WEB, among=["services"])

    assert [module for module in found if not within(module, "services.api")] == []


def test_pillow_is_imported_by_imaging_and_operations_only() -> None:
    allowed = ("services.worker.imaging", "services.common.operations")
    found = importers(["PIL"], among=["services"])

    assert [module for module in found if not within(module, *allowed)] == []


def test_operations_import_pillow_inside_functions_only() -> None:
    assert importers(["PIL"], among=["services.common"], deferred=False) == set()


def test_packages_import_each_other_without_circles() -> None:
    without_circles(package_edges(IMPORTS))


def test_modules_of_the_tests_import_each_other_without_circles() -> None:
    without_circles(
        (edge.module, edge.imported)
        for edge in IMPORTS
        if within(edge.module, "tests") and within(edge.imported, "tests")
    )


def without_circles(edges: Iterable[tuple[str, str]]) -> None:
    """Raises ``graphlib.CycleError``, which names the circle."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for importer, imported in edges:
        sorter.add(importer, imported)
    sorter.prepare()


def test_settings_are_the_only_reader_of_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }

    # The probes import nothing of the application, because they must start fast on a busy vCPU.
    probes = {"services/api/probe.py", "services/worker/probe.py"}
    assert readers == probes, "settings come from services/common/config.py (pydantic-settings)"


def test_one_module_creates_the_aws_clients() -> None:
    creators = {
        edge.module
        for edge in IMPORTS
        if within(edge.module, "services") and edge.imported == "boto3"
    }

    assert creators == {"services.common.aws"}


def test_the_type_checker_reads_every_cdk_module_that_is_imported() -> None:
    """A skipped module is ``Any`` to mypy, and code that uses it is not checked."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    [skipped, read] = [rule for rule in overrides if "follow_imports" in rule]
    assert (skipped["module"], skipped["follow_imports"]) == (["aws_cdk.*"], "skip")
    assert read["follow_imports"] == "normal"

    used = {edge.imported for edge in IMPORTS if within(edge.imported, "aws_cdk")}

    assert used | {"aws_cdk", "aws_cdk.interfaces.*"} == set(read["module"])
