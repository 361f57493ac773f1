"""What goes wrong with calls to AWS: refusals, hangs and resets, before and after success."""

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
"""Of the calls to each service. `before` and `after` are seen from AWS: the call had no effect, or
it had one that its caller was not told of."""

SLOW_S: Final = (0.1, 1.5)
HANG_S: Final = 15.0
"""Longer than any client of ours waits."""

_JSON: Final = {"Content-Type": "application/x-amz-json-1.0"}
_XML: Final = {"Content-Type": "application/xml"}


def _json(status: int, code: str) -> Reply:
    return Reply(status, f'{{"__type": "x#{code}", "message": "injected"}}'.encode(), _JSON)


def _xml(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    return Reply(status, body.encode(), _XML)


REFUSALS: Final[Mapping[str, Mapping[str, Reply]]] = {
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
    """Runs inside a ``with``: `endpoints` lead to the given ones, through faults drawn from `seed`.

    The draws are repeatable, and which call meets which is not: that hangs on the order in which
    processes come.
    """

    def __init__(self, endpoints: Endpoints, *, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._quiet = False
        self._stack = ExitStack()
        self._proxies = {
            service: FaultProxy(getattr(endpoints, service), fault_for=partial(self._draw, service))
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
        """From now on every call passes."""
        self._quiet = True

    def _draw(self, service: str, _: AwsCall) -> Fault:
        with self._lock:
            kind = self._kind(self._random.random())
            if kind is None or self._quiet:
                return no_fault
            self.counts[kind] += 1
            slow_s = self._random.uniform(*SLOW_S)
        return _fault(kind, service, slow_s)

    def _kind(self, drawn: float) -> str | None:
        for kind, share in SHARES.items():
            if drawn < share:
                return kind
            drawn -= share
        return None


def _fault(kind: str, service: str, slow_s: float) -> Fault:
    def happen(_: AwsCall, forward: Callable[[], Reply]) -> Reply:
        if kind in REFUSALS:
            return REFUSALS[kind][service]
        if kind == "slow":
            time.sleep(slow_s)
            return forward()
        if kind.endswith("after"):
            forward()
        if kind.startswith("timeout"):
            time.sleep(HANG_S)
        raise ResetConnection

    return happen
