"""Faults between a real boto3 client and moto, injected by botocore's events."""

from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

from tests.aws_faults.faults import (
    BotoCall,
    ConnectionReset,
    ErrorResponse,
    FaultRule,
    ResponseTimeout,
    Service,
)


def inject_faults(
    client: Any, *, service: Service, current_rule: Callable[[], FaultRule | None]
) -> None:
    """Apply the current rule to every call of `client` to moto.

    The exceptions are those of botocore's own HTTP session, so botocore handles and retries them
    as usual.
    """

    def respond(event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        def forward() -> AWSResponse:
            response = botocore_stubber(event_name, request)
            assert response is not None
            return response

        rule = current_rule()
        if rule is None:
            return forward()
        operation = event_name.rpartition(".")[2]
        call = BotoCall(service, operation, str(request.headers["amz-sdk-invocation-id"]))
        try:
            response = rule.apply(call, forward)
        except ResponseTimeout as timeout:
            raise ReadTimeoutError(endpoint_url=request.url) from timeout
        except ConnectionReset as reset:
            raise ConnectionClosedError(endpoint_url=request.url) from reset
        return _to_aws(request, response) if isinstance(response, ErrorResponse) else response

    client.meta.events.unregister("before-send", botocore_stubber)
    client.meta.events.register("before-send", respond)


def _to_aws(request: AWSPreparedRequest, response: ErrorResponse) -> AWSResponse:
    headers = HTTPHeaders()
    headers["Content-Type"] = response.content_type
    return AWSResponse(request.url, response.status, headers, MockRawResponse(response.body))
