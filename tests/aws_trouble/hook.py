"""Trouble put between a real client and moto, by the events that botocore offers for it."""

from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

from tests.aws_trouble.faults import (
    BotoCall,
    ConnectionBroken,
    Refusal,
    Service,
    TimedOut,
    Trouble,
)


def put_between(client: Any, *, service: Service, trouble: Callable[[], Trouble | None]) -> None:
    """Let every call of `client` go through the trouble of the moment to moto.

    What is raised here is what botocore's own HTTP session raises, and is judged and retried like
    it.
    """

    def answer(event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        def forward() -> AWSResponse:
            response = botocore_stubber(event_name, request)
            assert response is not None
            return response

        now = trouble()
        if now is None:
            return forward()
        operation = event_name.rpartition(".")[2]
        call = BotoCall(service, operation, str(request.headers["amz-sdk-invocation-id"]))
        try:
            outcome = now.befall(call, forward)
        except TimedOut as timed_out:
            raise ReadTimeoutError(endpoint_url=request.url) from timed_out
        except ConnectionBroken as broken:
            raise ConnectionClosedError(endpoint_url=request.url) from broken
        return _response(request, outcome) if isinstance(outcome, Refusal) else outcome

    client.meta.events.unregister("before-send", botocore_stubber)
    client.meta.events.register("before-send", answer)


def _response(request: AWSPreparedRequest, refusal: Refusal) -> AWSResponse:
    headers = HTTPHeaders()
    headers["Content-Type"] = refusal.content_type
    return AWSResponse(request.url, refusal.status, headers, MockRawResponse(refusal.body))
