"""Faults of calls to AWS: what a caller observes when a call fails."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeVar

Response = TypeVar("Response")


class Service(StrEnum):
    """The service names in request signatures."""

    DYNAMODB = "dynamodb"
    SQS = "sqs"
    S3 = "s3"
    SECRETS_MANAGER = "secretsmanager"


class FaultKind(StrEnum):
    """Every kind of fault. AFTER means that the call has taken effect although it fails."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    GATEWAY_ERROR = "error of a gateway"
    TIMEOUT_BEFORE = "timeout before the effect"
    TIMEOUT_AFTER = "timeout after the effect"
    RESET_BEFORE = "reset before the effect"
    RESET_AFTER = "reset after the effect"
    EXPIRED = "expired credentials"


RESPONSE_LOST = (FaultKind.TIMEOUT_AFTER, FaultKind.RESET_AFTER)
"""The call takes effect, but the caller gets no response."""
NO_RESPONSE = (
    FaultKind.TIMEOUT_BEFORE,
    FaultKind.TIMEOUT_AFTER,
    FaultKind.RESET_BEFORE,
    FaultKind.RESET_AFTER,
)
RETRIED = (FaultKind.THROTTLED, FaultKind.SERVER_ERROR, *NO_RESPONSE)
"""The SDK retries these for every service."""


class ResponseTimeout(Exception):
    """The call gets no response."""


class ConnectionReset(Exception):
    """The connection is reset in place of a response."""


class ErrorResponse(NamedTuple):
    status: int
    content_type: str
    body: bytes


_CODES = {
    FaultKind.THROTTLED: {
        Service.DYNAMODB: (400, "ThrottlingException"),
        Service.SQS: (400, "RequestThrottled"),
        Service.S3: (503, "SlowDown"),
        Service.SECRETS_MANAGER: (400, "ThrottlingException"),
    },
    FaultKind.SERVER_ERROR: {
        Service.DYNAMODB: (500, "InternalServerError"),
        Service.SQS: (500, "InternalFailure"),
        Service.S3: (500, "InternalError"),
        Service.SECRETS_MANAGER: (500, "InternalServiceError"),
    },
    FaultKind.EXPIRED: {
        Service.DYNAMODB: (400, "ExpiredTokenException"),
        Service.SQS: (403, "ExpiredToken"),
        Service.S3: (400, "ExpiredToken"),
        Service.SECRETS_MANAGER: (400, "ExpiredTokenException"),
    },
}


def _error_response(kind: FaultKind, service: Service) -> ErrorResponse:
    if kind is FaultKind.GATEWAY_ERROR:
        return ErrorResponse(502, "text/plain", b"Bad Gateway")
    status, code = _CODES[kind][service]
    if service is Service.S3:
        text = f"<Error><Code>{code}</Code><Message>No</Message></Error>"
        return ErrorResponse(status, "application/xml", text.encode())
    body = json.dumps({"__type": code, "message": "No"}).encode()
    return ErrorResponse(status, "application/x-amz-json-1.0", body)


class BotoCall(NamedTuple):
    service: Service
    operation: str
    invocation_id: str
    """The SDK's header ``amz-sdk-invocation-id``, which a call shares with its retries."""


@dataclass
class FaultRule:
    """Which calls fail, and how. Thread-safe."""

    kind: FaultKind
    service: Service
    operation: str | None = None
    """None matches every operation of the service."""
    invocation: int | None = None
    """The number of the call that fails, counted from 1. None matches every call."""
    tries: int | None = None
    """How many tries of a call fail. None means all."""
    failed: "deque[BotoCall]" = field(default_factory=deque)
    """The tries that the rule has failed."""
    _tries: dict[str, int] = field(default_factory=dict)
    """Tries per invocation id, in the order of the calls."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, call: BotoCall, forward: Callable[[], Response]) -> Response | ErrorResponse:
        """Fail `call` if the rule matches it. `forward` sends the call to AWS."""
        if not self._matches(call):
            return forward()
        match self.kind:
            case FaultKind.TIMEOUT_BEFORE:
                raise ResponseTimeout
            case FaultKind.RESET_BEFORE:
                raise ConnectionReset
            case FaultKind.TIMEOUT_AFTER:
                forward()
                raise ResponseTimeout
            case FaultKind.RESET_AFTER:
                forward()
                raise ConnectionReset
            case kind:
                return _error_response(kind, call.service)

    def _matches(self, call: BotoCall) -> bool:
        if call.service is not self.service or self.operation not in {None, call.operation}:
            return False
        with self._lock:
            tries = self._tries[call.invocation_id] = self._tries.get(call.invocation_id, 0) + 1
            invocation = list(self._tries).index(call.invocation_id) + 1
            if self.invocation not in {None, invocation}:
                return False
            if self.tries is not None and tries > self.tries:
                return False
            self.failed.append(call)
            return True
