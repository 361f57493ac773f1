"""Generated sections in hand-written pages. Two comments with its name enclose each section."""

from collections.abc import Mapping


def fill_sections(page: str, sections: Mapping[str, str]) -> str:
    """Replace the content of each section.

    Raises :class:`LookupError` if the page lacks a section.
    """
    for name, content in sections.items():
        before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- end: {name} -->")
        if not (start and end):
            raise LookupError(f"the page has no section {name}")
        page = f"{before}{start}{content}{end}{after}"
    return page
