"""docs/security.md has the figures of the last run, and tests for each threat."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from docs.generator.security_figures import MUST_BE_ZERO, PAGE, RESULTS, with_figures

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text()
FIGURES = json.loads((ROOT / RESULTS).read_text())

THREATS = [
    paragraph
    for paragraph in re.findall(r"^## Threats\n(.*?)^## ", TEXT, re.DOTALL | re.MULTILINE)[0]
    .strip()
    .split("\n\n")
    if not paragraph.startswith("### ")
]
TEST_LINK = r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)"
NAMED = sorted(set(re.findall(TEST_LINK, TEXT)))
LONGEST_PARAGRAPH = 120
"""In words, without the links to tests."""
LONGEST_CELL = 10
"""In words."""


@cache
def functions_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def test_the_figures_are_those_of_the_last_run() -> None:
    assert with_figures(TEXT, FIGURES) == TEXT, "run `python -m docs.generator.security_figures`"


@pytest.mark.parametrize("figure", MUST_BE_ZERO)
def test_the_last_run_found_no_breach(figure: str) -> None:
    assert FIGURES[figure] == 0


def test_the_last_run_was_long() -> None:
    assert FIGURES["address_forms_tried"] >= 20_000
    assert FIGURES["malformed_images_tried"] >= 20_000
    assert FIGURES["schemathesis_cases"] >= 2_000


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.split("**")[1])
def test_a_threat_has_a_title_a_short_paragraph_and_tests_at_its_end(threat: str) -> None:
    match = re.fullmatch(r"\*\*[^*]+\.\*\* (.+)\\\nTests: (.+)\.", threat, re.DOTALL)

    assert match, threat
    defense, tests = match.groups()
    assert len(defense.split()) <= LONGEST_PARAGRAPH
    assert re.sub(TEST_LINK, "", tests).replace(",", "").strip() == ""


def test_a_table_cell_holds_a_phrase() -> None:
    cells = [
        cell for row in re.findall(r"^\|(.+)\|$", TEXT, re.MULTILINE) for cell in row.split("|")
    ]

    assert [cell for cell in cells if len(cell.split()) > LONGEST_CELL] == []


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_every_linked_test_exists(name: str, path: str) -> None:
    assert name in functions_in(ROOT / path)
