"""The generated parts of the documentation are up to date."""

from collections.abc import Mapping

import pytest

from cdk.settings import Settings
from cdk.template.templates import Templates
from docs.generator.__main__ import DEPLOY, generated
from docs.generator.examples import examples
from docs.generator.sections import fill_sections
from tests.cdk.synthesized import ROOT


@pytest.fixture(scope="module")
def example_deployments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Templates]:
    return examples(tmp_path_factory.mktemp("examples"))


def test_drawings_and_tables_are_up_to_date(
    example_deployments: Mapping[str, Templates],
) -> None:
    outdated = [
        str(path)
        for path, content in generated(example_deployments).items()
        if (ROOT / path).read_text() != content
    ]

    assert outdated == [], "run `make docs`"


def test_the_page_on_deployments_lists_every_setting() -> None:
    page = (ROOT / DEPLOY).read_text()

    assert [name for name in Settings.model_fields if f"| `{name}` |" not in page] == []


def test_a_generated_section_replaces_only_its_own_content() -> None:
    page = "before\n<!-- generated: sizes -->\nold\n<!-- end: sizes -->\nafter"

    assert fill_sections(page, {"sizes": "new"}) == (
        "before\n<!-- generated: sizes -->\nnew\n<!-- end: sizes -->\nafter"
    )


def test_a_section_that_the_page_lacks_is_an_error() -> None:
    with pytest.raises(LookupError, match="colors"):
        fill_sections("a page", {"colors": "blue"})
