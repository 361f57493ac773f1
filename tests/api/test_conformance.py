from tests.api.conformance import conformance
from tests.api.conftest import Api
from tests.conftest import Cloud

EXAMPLES = 30
"""The test takes a few seconds."""


def test_every_response_conforms_to_the_openapi_document(api: Api, cloud: Cloud) -> None:
    result = conformance(api, cloud, examples=EXAMPLES)

    assert not result.failures, "\n\n".join(result.failures)
    assert result.statuses.keys() >= {200, 201, 400, 404, 405, 409, 415, 422}
