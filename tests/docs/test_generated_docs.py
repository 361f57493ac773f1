"""The generated parts of the documentation are those of this code."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

import pytest

from cdk.settings import Settings
from cdk.template.templates import Templates
from docs.generator.__main__ import ARCHITECTURE, generated
from docs.generator.drawing import accesses, draw
from docs.generator.examples import examples
from docs.generator.sections import filled
from tests.cdk.synthesized import ROOT


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Templates]:
    return examples(tmp_path_factory.mktemp("examples"))


def test_drawings_and_tables_are_up_to_date(shown: Mapping[str, Templates]) -> None:
    behind = [
        str(path)
        for path, content in generated(shown).items()
        if (ROOT / path).read_text() != content
    ]

    assert behind == [], "run `make docs`"


def test_a_page_shows_every_setting() -> None:
    page = (ROOT / ARCHITECTURE).read_text()

    assert [name for name in Settings.model_fields if f"| `{name}` |" not in page] == []


def test_a_drawing_is_an_image_with_an_arrow_for_each_grant(
    shown: Mapping[str, Templates],
) -> None:
    for deployment in shown.values():
        image = ET.fromstring(draw(deployment))  # noqa: S314 - our own
        words = [element.text for element in image.iter() if element.tag.endswith("text")]

        found = accesses(deployment)
        assert {(access.service, access.store) for access in found} >= {
            ("api", "queue"),
            ("worker", "queue"),
            ("worker", "result bucket"),
            ("reconciler", "dead-letter queue"),
        }
        assert [access.what for access in found if access.what not in words] == []


def test_a_section_is_filled_and_its_surroundings_stay() -> None:
    page = "before\n<!-- generated: sizes -->\nold\n<!-- end: sizes -->\nafter"

    assert filled(page, {"sizes": "new"}) == (
        "before\n<!-- generated: sizes -->\nnew\n<!-- end: sizes -->\nafter"
    )


def test_a_section_without_a_place_is_not_lost_silently() -> None:
    with pytest.raises(LookupError, match="colors"):
        filled("a page", {"colors": "blue"})
