"""docs/security.md: its figures are those that were measured, its tests those that there are."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from docs.generator.security_figures import HAVE_TO_BE_ZERO, PAGE, RESULTS, with_figures

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text()
FIGURES = json.loads((ROOT / RESULTS).read_text())

ROWS = [
    row
    for row in re.findall(r"^\|.*\|$", TEXT[TEXT.index("## Who, what") :], re.MULTILINE)
    if not re.match(r"\|(---| who tries )", row)
]
NAMED = sorted(set(re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", TEXT)))


@cache
def functions_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def test_the_figures_are_those_of_the_last_run() -> None:
    assert with_figures(TEXT, FIGURES) == TEXT, "run `python -m docs.generator.security_figures`"


@pytest.mark.parametrize("figure", HAVE_TO_BE_ZERO)
def test_nothing_was_breached(figure: str) -> None:
    assert FIGURES[figure] == 0


def test_the_run_was_a_long_one() -> None:
    assert FIGURES["address_forms_tried"] >= 20_000
    assert FIGURES["malformed_images_tried"] >= 20_000
    assert FIGURES["schemathesis_cases"] >= 2_000


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:60])
def test_every_row_says_who_what_how_stopped_what_remains_and_is_tested(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]

    assert len(cells) == 5
    assert all(cells)
    assert re.search(r"\[test_\w+\]\(", cells[4])


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_every_test_that_is_named_exists(name: str, path: str) -> None:
    assert name in functions_in(ROOT / path)
