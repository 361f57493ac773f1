"""The figures and plots on docs/scaling.md are those of the last `make simulate`."""

import json
import re

from docs.generator.examples import ROOT
from docs.generator.scaling_figures import PAGE, RESULTS, with_figures

TEXT = (ROOT / PAGE).read_text()


def test_the_figures_are_up_to_date() -> None:
    results = json.loads((ROOT / RESULTS).read_text())

    assert with_figures(TEXT, results) == TEXT, "run `python -m docs.generator.scaling_figures`"


def test_the_page_shows_every_plot() -> None:
    shown = set(re.findall(r"\]\((scaling/[\w-]+\.png)\)", TEXT))

    assert shown == {f"scaling/{path.name}" for path in (ROOT / "docs/scaling").glob("*.png")}
