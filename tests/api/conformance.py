"""Requests that Schemathesis makes from the OpenAPI document, and what is wrong with the answers.

Valid ones, ones at and past every limit, ones that break the schema, and sequences that use the
task ids which earlier answers gave.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from services.common.task import Phase
from tests.api.conftest import ALICE, Api
from tests.api.rows import put_task
from tests.conftest import Cloud

CONFIG: dict[str, Any] = {
    "headers": {"Authorization": f"Bearer {ALICE}"},
    "checks": {
        # What a schema cannot say, such as which hosts a URL may have, is refused with a 400.
        "positive_data_acceptance": {"enabled": False},
        # Its own requests fail with a WSGI application; test_isolation.py covers what it asks.
        "ignored_auth": {"enabled": False},
    },
}


@dataclass
class Conformance:
    """What came of it: answers by status, and a text for each that the document does not allow."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def conformance(api: Api, cloud: Cloud, *, examples: int) -> Conformance:
    """Try `api`, which has a task in every phase; `examples` for each route and kind of request.

    The same examples every time in a process of its own. In a shared one they vary, since
    Hypothesis also draws constants of the modules that are loaded; only the document's own examples
    are always among them.
    """
    for number, phase in enumerate(Phase):
        put_task(cloud, phase, task_id=f"6e1f7a4e-0000-4000-8000-{number:012}")
    generation = {"max-examples": examples, "deterministic": True}
    document = schemathesis.openapi.from_wsgi(
        "/openapi.json",
        api.app,
        config=SchemathesisConfig.from_dict({**CONFIG, "generation": generation}),
    )
    found = Conformance()
    for event in from_schema(document).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                for interaction in recorder.interactions.values():
                    assert interaction.response is not None
                    found.statuses[interaction.response.status_code] += 1
                found.failures += [
                    f"{recorder.label}: {check.failure_info.failure.title}\n"
                    f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                    for checks in recorder.checks.values()
                    for check in checks
                    if check.failure_info is not None
                ]
            case events.NonFatalError(label=label, value=error):
                found.failures.append(f"{label}: {error!r}")
            case events.FatalError(exception=error):
                raise error
    return found
