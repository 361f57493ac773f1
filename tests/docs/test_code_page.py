"""docs/code.md agrees with the code."""

import re

from docs.generator.__main__ import CODE
from docs.generator.imports import (
    PRODUCT,
    ROOT,
    TOOLS,
    import_drawing,
    package_edges,
    read_imports,
    without_shortcuts,
)
from docs.generator.sections import fill_sections

PAGE = (ROOT / CODE).read_text()
SYMBOLS = re.findall(r"\| `([\w/.]+\.py)` \(`(\w+)`\) \|", PAGE)


def test_the_drawing_is_up_to_date() -> None:
    assert fill_sections(PAGE, {"imports": import_drawing(read_imports())}) == PAGE, (
        "run `make docs`"
    )


def test_the_drawing_keeps_every_import_reachable() -> None:
    edges = package_edges(read_imports())
    arrows = without_shortcuts(edges)

    assert arrows < edges
    assert closure(arrows) == closure(edges)


def closure(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    longer = edges | {
        (start, end) for start, middle in edges for other, end in edges if middle == other
    }
    return edges if longer == edges else closure(longer)


def test_every_folder_is_explained() -> None:
    explained = re.findall(r"^\| (`.+`) \| .+\? ?.*\|$", PAGE, re.MULTILINE)
    named = {name.split("/")[0] for cell in explained for name in re.findall(r"`([^`]+)`", cell)}

    assert {name.removesuffix(".py") for name in named} == {*PRODUCT, *TOOLS}


def test_every_function_and_setting_it_names_exists() -> None:
    assert SYMBOLS
    assert [name for path, name in SYMBOLS if name not in (ROOT / path).read_text()] == []
