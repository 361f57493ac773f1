"""Who may import whom. The rules are those that docs/architecture.md draws.

The images stay small and the services apart only because of these rules: the API carries no image
decoder, the worker no web framework, and neither knows how it is deployed.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("services", "cdk", "local", "bench", "taskctl", "taskfleet", "tests")
TOOLS = ("local", "bench", "taskctl", "tests")


class Import(NamedTuple):
    module: str
    """Who imports, for instance ``services.worker.fetching.fetcher``."""
    imported: str
    at_import_time: bool
    """False inside a function, or where only the type checker looks."""


def imports() -> Iterator[Import]:
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            yield from imports_in(module, ast.parse(path.read_text()), at_import_time=True)


def imports_in(module: str, node: ast.AST, *, at_import_time: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(module, name.name, at_import_time)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module} uses a relative import"
            yield Import(module, child.module or "", at_import_time)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            )
            yield from imports_in(module, child, at_import_time=at_import_time and not later)


ALL = list(imports())


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def breaches(importer: str, *forbidden: str, also_later: bool = True) -> list[str]:
    return [
        f"{edge.module} imports {edge.imported}"
        for edge in ALL
        if within(edge.module, importer)
        and within(edge.imported, *forbidden)
        and (also_later or edge.at_import_time)
    ]


@pytest.mark.parametrize(
    ("importer", "forbidden"),
    [
        ("services.common", ("services.api", "services.worker", "cdk", *TOOLS)),
        ("services.common", ("flask", "flask_openapi3", "gunicorn")),
        ("services.common.task", ("boto3", "botocore")),
        ("services.common.errors", ("boto3", "botocore")),
        ("services.common.operations", ("boto3", "botocore")),
        ("services.api", ("services.worker", "cdk", "PIL", *TOOLS)),
        ("services.worker", ("services.api", "cdk", "flask", "gunicorn", *TOOLS)),
        ("cdk", ("services", *TOOLS)),
        ("services", ("cdk", *TOOLS)),
        ("local", ("bench", "tests")),
        ("taskctl", ("bench", "tests")),
        ("bench", ("tests",)),
    ],
)
def test_a_package_imports_only_what_it_may(importer: str, forbidden: tuple[str, ...]) -> None:
    assert breaches(importer, *forbidden) == []


def test_the_client_imports_only_urllib3_and_the_standard_library() -> None:
    imported = {edge.imported for edge in ALL if within(edge.module, "taskfleet")}
    allowed = ("taskfleet", "urllib3", *sys.stdlib_module_names)
    assert {name for name in imported if not within(name, *allowed)} == set()


def test_the_common_code_needs_no_image_decoder_to_be_imported() -> None:
    assert breaches("services.common", "PIL", also_later=False) == []


def test_pillow_is_imported_by_imaging_and_operations_only() -> None:
    allowed = ("services.worker.imaging", "services.common.operations")
    elsewhere = {
        edge.module
        for edge in ALL
        if within(edge.module, "services")
        and within(edge.imported, "PIL")
        and not within(edge.module, *allowed)
    }
    assert elsewhere == set()


def test_the_environment_has_one_reader() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers == set(), "settings come from services/common/config.py (pydantic-settings)"


def test_clients_of_aws_have_one_maker() -> None:
    makers = {
        edge.module for edge in ALL if within(edge.module, "services") and edge.imported == "boto3"
    }
    assert makers == {"services.common.aws"}


def test_the_type_checker_reads_whatever_we_import_of_the_cdk() -> None:
    """What it skips is ``Any`` to it, and then nothing of ours that uses it is checked."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    [skipped, read] = overrides
    assert (skipped["module"], skipped["follow_imports"]) == (["aws_cdk.*"], "skip")
    assert read["follow_imports"] == "normal"
    used = {edge.imported for edge in ALL if within(edge.imported, "aws_cdk")}
    assert used | {"aws_cdk", "aws_cdk.interfaces.*"} == set(read["module"])
