"""Make the generated parts of the documentation anew: ``python -m docs``."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.prices import Prices
from cdk.reading.templates import Deployment
from docs.drawing import draw
from docs.examples import ROOT, examples
from docs.sections import filled
from docs.tables import cost_table, profiles_table, settings_table

ARCHITECTURE = Path("docs/architecture.md")


def generated(deployments: Mapping[str, Deployment]) -> dict[Path, str]:
    """The content of every file that is generated, wholly or in parts."""
    drawings = {
        Path(f"docs/architecture-{profile}.svg"): draw(deployment)
        for profile, deployment in deployments.items()
    }
    sections = {
        "profiles": profiles_table(deployments),
        "cost": cost_table(deployments, Prices.read()),
        "settings": settings_table({name: each.settings for name, each in deployments.items()}),
    }
    return {**drawings, ARCHITECTURE: filled((ROOT / ARCHITECTURE).read_text(), sections)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path, content in generated(examples(Path(folder))).items():
            (ROOT / path).write_text(content)


if __name__ == "__main__":
    main()
