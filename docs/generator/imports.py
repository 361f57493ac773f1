"""The imports between the packages of this repository, read from the source, and their drawing."""

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from docs.generator.mermaid import arrow, flowchart, node

ROOT = Path(__file__).parents[2]

PRODUCT = ("app", "cdk", "services")
TOOLS = (
    "taskctl",
    "taskfleet",
    "local",
    "rehearsal",
    "testbed",
    "bench",
    "simulation",
    "cost",
    "docs",
    "tests",
)


class Import(NamedTuple):
    module: str
    """The importing module, for instance ``services.worker.fetching.fetcher``."""
    imported: str
    """The imported module; for ``from package import name``, both the package and the module
    ``package.name`` if there is one."""
    at_import_time: bool
    """False inside a function and under ``if TYPE_CHECKING``."""


def read_imports() -> tuple[Import, ...]:
    """Every absolute import of every module, standard library and dependencies included."""
    paths = {_module_name(path): path for path in _source_files()}
    return tuple(
        edge
        for module, path in paths.items()
        for edge in _imports_in(module, ast.parse(path.read_text()), paths.keys())
    )


def _source_files() -> Iterator[Path]:
    yield ROOT / "app.py"
    for folder in (*PRODUCT[1:], *TOOLS):
        paths = (ROOT / folder).rglob("*.py")
        yield from sorted(path for path in paths if "node_modules" not in path.parts)


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports_in(
    module: str, node: ast.AST, modules: Iterable[str], *, at_import_time: bool = True
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(module, name.name, at_import_time)
        elif isinstance(child, ast.ImportFrom):
            if child.level or child.module is None:
                raise ValueError(f"{module} uses a relative import")
            yield Import(module, child.module, at_import_time)
            for name in child.names:
                if (submodule := f"{child.module}.{name.name}") in modules:
                    yield Import(module, submodule, at_import_time)
        else:
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            )
            yield from _imports_in(
                module, child, modules, at_import_time=at_import_time and not deferred
            )


def package_of(module: str) -> str:
    """The top-level package of `module`; below ``services``, the service."""
    top, *rest = module.split(".")
    return f"services.{rest[0]}" if top == "services" and rest else top


def package_edges(imports: Iterable[Import]) -> set[tuple[str, str]]:
    """Which of our packages imports which other one."""
    ours = {*PRODUCT, *TOOLS}
    edges = {
        (package_of(edge.module), package_of(edge.imported))
        for edge in imports
        if edge.imported.split(".")[0] in ours
    }
    return {(importer, imported) for importer, imported in edges if importer != imported}


def without_shortcuts(edges: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges of a graph without circles, minus those that a longer path replaces."""
    successors = {start: {end for other, end in edges if other == start} for start, _ in edges}

    def reached(package: str) -> set[str]:
        following = successors.get(package, set())
        return following.union(*map(reached, following))

    return {
        (start, end)
        for start, end in edges
        if not any(end in reached(via) for via in successors[start])
    }


def import_drawing(imports: Iterable[Import]) -> str:
    """The packages and their imports as a Mermaid flowchart.

    It leaves out ``tests``, and every import that longer paths of arrows already show.
    """
    edges = sorted(
        without_shortcuts([edge for edge in package_edges(imports) if "tests" not in edge])
    )
    packages = sorted({package for edge in edges for package in edge})
    return flowchart(
        "TD",
        [
            *(node(_node(package), _label(package), kind=_kind(package)) for package in packages),
            *(arrow(_node(importer), _node(imported)) for importer, imported in edges),
        ],
    )


def _kind(package: str) -> str:
    return "product" if package.split(".", maxsplit=1)[0] in PRODUCT else "tool"


def _node(package: str) -> str:
    return package.replace(".", "_")


def _label(package: str) -> str:
    return "app.py" if package == "app" else package.replace(".", "/")
