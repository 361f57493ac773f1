"""Checks with Schemathesis that the API conforms to its OpenAPI document.

Schemathesis generates valid requests, requests at and beyond every limit, requests that violate the
schema, and sequences that use the task ids of earlier responses.
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
        # Some valid data gets a 400, because a schema cannot express which hosts a URL may have.
        "positive_data_acceptance": {"enabled": False},
        # This check does not support WSGI applications. test_isolation.py covers the same.
        "ignored_auth": {"enabled": False},
    },
}


@dataclass
class Conformance:
    """Counts of responses by status, and a description of each nonconforming response."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def conformance(api: Api, cloud: Cloud, *, examples: int) -> Conformance:
    """Test `api`, with a task in every phase and `examples` for each route and kind of request.

    In a process of its own, this always generates the same examples. In a shared process they vary,
    because Hypothesis also uses constants of loaded modules. The examples of the document are
    always included.
    """
    for number, phase in enumerate(Phase):
        put_task(cloud, phase, task_id=f"6e1f7a4e-0000-4000-8000-{number:012}")
    generation = {"max-examples": examples, "deterministic": True}
    document = schemathesis.openapi.from_wsgi(
        "/openapi.json",
        api.app,
        config=SchemathesisConfig.from_dict({**CONFIG, "generation": generation}),
    )
    result = Conformance()
    for event in from_schema(document).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                for interaction in recorder.interactions.values():
                    assert interaction.response is not None
                    result.statuses[interaction.response.status_code] += 1
                result.failures += [
                    f"{recorder.label}: {check.failure_info.failure.title}\n"
                    f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                    for checks in recorder.checks.values()
                    for check in checks
                    if check.failure_info is not None
                ]
            case events.NonFatalError(label=label, value=error):
                result.failures.append(f"{label}: {error!r}")
            case events.FatalError(exception=error):
                raise error
    return result
