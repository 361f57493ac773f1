"""Injects faults into AWS calls: errors, delays and resets, before and after the call succeeds."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final, Self

from testbed.endpoints import Endpoints
from testbed.fault_proxy import AwsCall, Fault, FaultProxy, Reply, ResetConnection, no_fault

SERVICES: Final = ("dynamodb", "sqs", "s3")

SHARES: Final[Mapping[str, float]] = {
    "throttled": 0.008,
    "server error": 0.008,
    "expired credentials": 0.002,
    "slow": 0.004,
    "reset before": 0.002,
    "reset after": 0.003,
    "timeout before": 0.001,
    "timeout after": 0.002,
}
"""Share of calls with each fault. `before` means that AWS does not execute the call, `after` that
AWS executes it and the caller gets no response."""

SLOW_S: Final = (0.1, 1.5)
HANG_S: Final = 15.0
"""Longer than the timeout of any client."""

_JSON: Final = {"Content-Type": "application/x-amz-json-1.0"}
_XML: Final = {"Content-Type": "application/xml"}


def _json(status: int, code: str) -> Reply:
    return Reply(status, f'{{"__type": "x#{code}", "message": "injected"}}'.encode(), _JSON)


def _xml(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    return Reply(status, body.encode(), _XML)


ERRORS: Final[Mapping[str, Mapping[str, Reply]]] = {
    "throttled": {
        "dynamodb": _json(400, "ProvisionedThroughputExceededException"),
        "sqs": _json(400, "RequestThrottled"),
        "s3": _xml(503, "SlowDown"),
    },
    "server error": {
        "dynamodb": _json(500, "InternalServerError"),
        "sqs": _json(500, "InternalFailure"),
        "s3": _xml(500, "InternalError"),
    },
    "expired credentials": {
        "dynamodb": _json(400, "ExpiredTokenException"),
        "sqs": _json(403, "ExpiredTokenException"),
        "s3": _xml(400, "ExpiredToken"),
    },
}


class AwsFaults:
    """Runs inside a ``with``. `endpoints` forward to the given endpoints, with faults.

    `seed` determines the sequence of faults. Which call gets which fault depends on timing.
    """

    def __init__(self, endpoints: Endpoints, *, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._stopped = False
        self._stack = ExitStack()
        self._proxies = {
            service: FaultProxy(
                getattr(endpoints, service), fault_for=partial(self._next_fault, service)
            )
            for service in SERVICES
        }
        urls = {service: proxy.url for service, proxy in self._proxies.items()}
        self.endpoints = Endpoints(secretsmanager=endpoints.secretsmanager, **urls)

    def __enter__(self) -> Self:
        for proxy in self._proxies.values():
            self._stack.enter_context(proxy)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Forward every call from now on."""
        self._stopped = True

    def _next_fault(self, service: str, _: AwsCall) -> Fault:
        with self._lock:
            kind = self._kind(self._random.random())
            if kind is None or self._stopped:
                return no_fault
            self.counts[kind] += 1
            slow_s = self._random.uniform(*SLOW_S)
        return _fault(kind, service, slow_s)

    def _kind(self, sample: float) -> str | None:
        """The kind of fault for a sample from [0, 1)."""
        for kind, share in SHARES.items():
            if sample < share:
                return kind
            sample -= share
        return None


def _fault(kind: str, service: str, slow_s: float) -> Fault:
    def fault(_: AwsCall, forward: Callable[[], Reply]) -> Reply:
        if kind in ERRORS:
            return ERRORS[kind][service]
        if kind == "slow":
            time.sleep(slow_s)
            return forward()
        if kind.endswith("after"):
            forward()
        if kind.startswith("timeout"):
            time.sleep(HANG_S)
        raise ResetConnection

    return fault
