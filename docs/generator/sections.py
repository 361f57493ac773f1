"""Generated sections of a hand-written page, each between two comments with its name."""

from collections.abc import Mapping


def filled(page: str, sections: Mapping[str, str]) -> str:
    """`page` with each of `sections` in its place; raises :class:`LookupError` without one."""
    for name, content in sections.items():
        before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- end: {name} -->")
        if not (start and end):
            raise LookupError(f"the page has no place for {name}")
        page = f"{before}{start}{content}{end}{after}"
    return page
