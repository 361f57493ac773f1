"""Pages link to, and name, files that exist."""

import re
from functools import cache
from pathlib import Path

import pytest

from docs.generator.imports import PRODUCT, ROOT, TOOLS

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "local/samples").glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]


@cache
def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_in(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links_in(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_named_in_a_page_exists(page: Path) -> None:
    folders = "|".join([*PRODUCT, *TOOLS, "make"])
    paths = re.findall(rf"`((?:{folders})/[\w./]+)`", page.read_text())

    assert [path for path in paths if not (ROOT / path).exists()] == []
