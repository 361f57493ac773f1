"""One call to AWS that is kept on its way, so that something can happen meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Self

from testbed.endpoints import Endpoints
from testbed.fault_proxy import AwsCall, Fault, FaultProxy, Reply, ResetConnection, no_fault
from testbed.waiting import DEFAULT_TIMEOUT_S


class Which(NamedTuple):
    """The first call of `service` that this is said of."""

    service: str
    operation: str
    containing: bytes = b""

    def matches(self, call: AwsCall) -> bool:
        return call.operation == self.operation and self.containing in call.body


CLAIM = Which("dynamodb", "UpdateItem", b"startedAt")
PUT = Which("s3", "PutObject")
COMPLETE = Which("dynamodb", "UpdateItem", b"COMPLETED")
DELETE = Which("sqs", "DeleteMessage")
SEND = Which("sqs", "SendMessage")


class HeldCall:
    """Runs inside a ``with``; whoever uses `endpoints` has the call held.

    It is held after AWS has done it and before its caller hears so; or, with `before`, before AWS
    gets it. A call that is still held at the end of the ``with`` breaks off there.
    """

    def __init__(self, endpoints: Endpoints, which: Which, *, before: bool = False) -> None:
        self._which = which
        self._before = before
        self._lock = threading.Lock()
        self._seen = False
        self._held = threading.Event()
        self._go_on = threading.Event()
        self._broken_off = False
        self._proxy = FaultProxy(getattr(endpoints, which.service), fault_for=self._fault_for)
        self.endpoints = replace(endpoints, **{which.service: self._proxy.url})

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._broken_off = not self._go_on.is_set()
        self._go_on.set()
        self._proxy.__exit__()

    def wait_until_held(self) -> None:
        assert self._held.wait(DEFAULT_TIMEOUT_S), f"no {self._which.operation} came"

    def let_go(self) -> None:
        self._go_on.set()

    def _fault_for(self, call: AwsCall) -> Fault:
        with self._lock:
            if self._seen or not self._which.matches(call):
                return no_fault
            self._seen = True
        return self._hold

    def _hold(self, _: AwsCall, forward: Callable[[], Reply]) -> Reply:
        if self._before:
            self._wait()
            return forward()
        reply = forward()
        self._wait()
        return reply

    def _wait(self) -> None:
        self._held.set()
        self._go_on.wait(DEFAULT_TIMEOUT_S)
        if self._broken_off:
            raise ResetConnection
