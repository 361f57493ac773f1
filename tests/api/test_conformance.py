"""Whatever is sent, the answer is one that the OpenAPI document describes, and never a 5xx.

Schemathesis makes the requests from the document: valid ones, ones at and past every limit, ones
that break the schema, and sequences that use the task ids which earlier answers gave.
"""

from collections import Counter
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from services.common.task import Phase
from tests.api.conftest import ALICE, Api
from tests.api.rows import put_task
from tests.conftest import Cloud

EXAMPLES = 30
"""For each route and phase: a few seconds in all."""

CONFIG: dict[str, Any] = {
    "headers": {"Authorization": f"Bearer {ALICE}"},
    "generation": {"max-examples": EXAMPLES, "deterministic": True},
    "checks": {
        # What a schema cannot say, such as which hosts a URL may have, is refused with a 400.
        "positive_data_acceptance": {"enabled": False},
        # Its own requests fail with a WSGI application; test_isolation.py covers what it asks.
        "ignored_auth": {"enabled": False},
    },
}


def test_every_answer_is_one_that_the_document_describes(api: Api, cloud: Cloud) -> None:
    for number, phase in enumerate(Phase):
        put_task(cloud, phase, task_id=f"6e1f7a4e-0000-4000-8000-{number:012}")
    document = schemathesis.openapi.from_wsgi(
        "/openapi.json", api.app, config=SchemathesisConfig.from_dict(CONFIG)
    )
    failures: list[str] = []
    statuses: Counter[int] = Counter()

    for event in from_schema(document).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                for interaction in recorder.interactions.values():
                    assert interaction.response is not None
                    statuses[interaction.response.status_code] += 1
                failures += [
                    f"{recorder.label}: {check.failure_info.failure.title}\n"
                    f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                    for checks in recorder.checks.values()
                    for check in checks
                    if check.failure_info is not None
                ]
            case events.NonFatalError(label=label, value=error):
                failures.append(f"{label}: {error!r}")
            case events.FatalError(exception=error):
                raise error

    assert not failures, "\n\n".join(failures)
    assert statuses.keys() >= {200, 201, 400, 404, 405, 409, 415, 422}
    print(f"{statuses.total()} requests, 0 failures: {dict(sorted(statuses.items()))}")
