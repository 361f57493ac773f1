"""Whatever is sent, the answer is one that the OpenAPI document describes, and never a 5xx."""

from tests.api.conformance import conformance
from tests.api.conftest import Api
from tests.conftest import Cloud

EXAMPLES = 30
"""A few seconds in all."""


def test_every_response_conforms_to_the_openapi_document(api: Api, cloud: Cloud) -> None:
    found = conformance(api, cloud, examples=EXAMPLES)

    assert not found.failures, "\n\n".join(found.failures)
    assert found.statuses.keys() >= {200, 201, 400, 404, 405, 409, 415, 422}
