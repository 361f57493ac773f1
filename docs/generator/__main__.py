"""Write the generated parts of the documentation: ``python -m docs.generator``."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from cdk.template.templates import Templates
from cost.prices import Prices
from docs.generator.access_drawing import access_drawing
from docs.generator.deployment_drawing import deployment_drawing
from docs.generator.examples import ROOT, examples
from docs.generator.formats_table import formats_tables
from docs.generator.imports import import_drawing, read_imports
from docs.generator.sections import fill_sections
from docs.generator.tables import alarms_table, cost_table, profiles_table, settings_table

ARCHITECTURE = Path("docs/architecture.md")
DEPLOY = Path("docs/deploy.md")
CODE = Path("docs/code.md")
FORMATS = Path("docs/formats.md")


def generated(deployments: Mapping[str, Templates]) -> dict[Path, str]:
    """The content of every page that has generated sections."""
    sections = {
        **{f"deployment {name}": deployment_drawing(each) for name, each in deployments.items()},
        "access": access_drawing(deployments["standard"]),
        "profiles": profiles_table(deployments),
        "alarms": alarms_table(deployments["standard"]),
        "cost": cost_table(deployments, Prices.read()),
    }
    settings = settings_table({name: each.settings for name, each in deployments.items()})
    imports = {"imports": import_drawing(read_imports())}
    return {
        DEPLOY: fill_sections((ROOT / DEPLOY).read_text(), {"settings": settings}),
        ARCHITECTURE: fill_sections((ROOT / ARCHITECTURE).read_text(), sections),
        CODE: fill_sections((ROOT / CODE).read_text(), imports),
        FORMATS: fill_sections((ROOT / FORMATS).read_text(), {"formats": formats_tables()}),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path, content in generated(examples(Path(folder))).items():
            (ROOT / path).write_text(content)


if __name__ == "__main__":
    main()
