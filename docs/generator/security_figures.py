"""Write the figures of the last `make security` into docs/security.md.

``python -m docs.generator.security_figures``
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.generator.sections import fill_sections

PAGE = Path("docs/security.md")
RESULTS = Path("tests/results/security.json")

MUST_BE_ZERO = (
    "address_forms_reached",
    "public_forms_refused",
    "workers_died",
    "over_deadline",
    "schemathesis_failures",
)


def rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name of each figure, and its value with its unit."""
    yield "address forms tried", f"{figures['address_forms_tried']:,}"
    yield "address forms reached", f"{figures['address_forms_reached']:,}"
    yield "public forms tried", f"{figures['public_forms_tried']:,}"
    yield "public forms wrongly refused", f"{figures['public_forms_refused']:,}"
    yield "malformed images tried", f"{figures['malformed_images_tried']:,}"
    yield "workers died", f"{figures['workers_died']:,}"
    yield "images over their deadline", f"{figures['over_deadline']:,}"
    yield "largest allowed images tried", f"{figures['largest_images_tried']:,}"
    yield "peak memory of an imaging child", f"{figures['peak_child_memory_mb']:,} MB"
    yield "bombs tried, all refused", f"{figures['bombs_tried']:,}"
    yield "worst bomb", f"{figures['worst_bomb']}"
    yield "size of the worst bomb", f"{figures['worst_bomb_bytes_in']:,} bytes"
    yield "time to refuse the worst bomb", f"{figures['worst_bomb_refused_in_ms']:,} ms"
    yield "requests by Schemathesis", f"{figures['schemathesis_cases']:,}"
    yield "responses outside the OpenAPI document or 5xx", f"{figures['schemathesis_failures']:,}"


def with_figures(page: str, figures: Mapping[str, Any]) -> str:
    """Replace the table of figures in `page`."""
    lines = ["| figure | |", "| --- | ---: |"]
    lines += [f"| {name} | {value} |" for name, value in rows(figures)]
    return fill_sections(page, {"figures": "\n".join(lines)})


def main() -> None:
    PAGE.write_text(with_figures(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
