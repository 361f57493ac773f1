"""How calls to AWS go wrong: each way as the caller meets it."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeVar

Answer = TypeVar("Answer")


class Service(StrEnum):
    """By the names that requests are signed for."""

    DYNAMODB = "dynamodb"
    SQS = "sqs"
    S3 = "s3"
    SECRETS_MANAGER = "secretsmanager"


class Kind(StrEnum):
    """Every kind of trouble. What happens after the effect has happened, whatever is heard."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    GATEWAY_ERROR = "an answer of something in between"
    TIMEOUT_BEFORE = "timeout before the effect"
    TIMEOUT_AFTER = "timeout after the effect"
    RESET_BEFORE = "reset before the effect"
    RESET_AFTER = "reset after the effect"
    EXPIRED = "expired credentials"


UNHEARD = (Kind.TIMEOUT_AFTER, Kind.RESET_AFTER)
"""The call took effect, and nobody heard of it."""
SILENT = (Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.RESET_BEFORE, Kind.RESET_AFTER)
"""There is no answer."""
RETRIED = (Kind.THROTTLED, Kind.SERVER_ERROR, *SILENT)
"""What the SDK tries again by itself, whichever the service."""


class TimedOut(Exception):
    """No answer comes any more."""


class ConnectionBroken(Exception):
    """The connection is reset instead of an answer."""


class Refusal(NamedTuple):
    """An answer that says no."""

    status: int
    content_type: str
    body: bytes


_CODES = {
    Kind.THROTTLED: {
        Service.DYNAMODB: (400, "ThrottlingException"),
        Service.SQS: (400, "RequestThrottled"),
        Service.S3: (503, "SlowDown"),
        Service.SECRETS_MANAGER: (400, "ThrottlingException"),
    },
    Kind.SERVER_ERROR: {
        Service.DYNAMODB: (500, "InternalServerError"),
        Service.SQS: (500, "InternalFailure"),
        Service.S3: (500, "InternalError"),
        Service.SECRETS_MANAGER: (500, "InternalServiceError"),
    },
    Kind.EXPIRED: {
        Service.DYNAMODB: (400, "ExpiredTokenException"),
        Service.SQS: (403, "ExpiredToken"),
        Service.S3: (400, "ExpiredToken"),
        Service.SECRETS_MANAGER: (400, "ExpiredTokenException"),
    },
}


def _refusal(kind: Kind, service: Service) -> Refusal:
    if kind is Kind.GATEWAY_ERROR:
        return Refusal(502, "text/plain", b"Bad Gateway")
    status, code = _CODES[kind][service]
    if service is Service.S3:
        text = f"<Error><Code>{code}</Code><Message>No</Message></Error>"
        return Refusal(status, "application/xml", text.encode())
    body = json.dumps({"__type": code, "message": "No"}).encode()
    return Refusal(status, "application/x-amz-json-1.0", body)


class BotoCall(NamedTuple):
    service: Service
    operation: str
    invocation_id: str
    """The same for a call and its retries (the SDK's header ``amz-sdk-invocation-id``)."""


@dataclass
class Trouble:
    """Which calls go wrong, and how. Thread-safe."""

    kind: Kind
    service: Service
    operation: str | None = None
    """None is every operation of the service."""
    invocation: int | None = None
    """Only the n-th call of those, counted from 1; None is every one."""
    tries: int | None = None
    """How many tries of a call go wrong; None is all."""
    struck: "deque[BotoCall]" = field(default_factory=deque)
    _tries: dict[str, int] = field(default_factory=dict)
    """By invocation id, in the order in which the calls came."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def befall(self, call: BotoCall, forward: Callable[[], Answer]) -> Answer | Refusal:
        """What becomes of `call`: `forward` lets AWS do it."""
        if not self._strikes(call):
            return forward()
        match self.kind:
            case Kind.TIMEOUT_BEFORE:
                raise TimedOut
            case Kind.RESET_BEFORE:
                raise ConnectionBroken
            case Kind.TIMEOUT_AFTER:
                forward()
                raise TimedOut
            case Kind.RESET_AFTER:
                forward()
                raise ConnectionBroken
            case kind:
                return _refusal(kind, call.service)

    def _strikes(self, call: BotoCall) -> bool:
        if call.service is not self.service or self.operation not in {None, call.operation}:
            return False
        with self._lock:
            tries = self._tries[call.invocation_id] = self._tries.get(call.invocation_id, 0) + 1
            invocation = list(self._tries).index(call.invocation_id) + 1
            if self.invocation not in {None, invocation}:
                return False
            if self.tries is not None and tries > self.tries:
                return False
            self.struck.append(call)
            return True
