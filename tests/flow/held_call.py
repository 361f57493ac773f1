"""Holds one call to AWS back, so that a test can act while the caller waits."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Self

from testbed.endpoints import Endpoints
from testbed.fault_proxy import AwsCall, Fault, FaultProxy, Reply, ResetConnection, no_fault
from testbed.waiting import DEFAULT_TIMEOUT_S


class CallPattern(NamedTuple):
    """Matches calls of an operation whose body contains some bytes."""

    service: str
    operation: str
    containing: bytes = b""

    def matches(self, call: AwsCall) -> bool:
        return call.operation == self.operation and self.containing in call.body


CLAIM = CallPattern("dynamodb", "UpdateItem", b"startedAt")
PUT_RESULT = CallPattern("s3", "PutObject")
COMPLETE = CallPattern("dynamodb", "UpdateItem", b"COMPLETED")
DELETE_MESSAGE = CallPattern("sqs", "DeleteMessageBatch")
SEND_MESSAGE = CallPattern("sqs", "SendMessage")


class HeldCall:
    """Runs inside a ``with``. Holds the first matching call of processes that use `endpoints`.

    The call is held after AWS has executed it and before the caller gets the response, or before
    AWS gets the call if `before_execution`. If it is still held at the end of the ``with``, its
    connection is reset.
    """

    def __init__(
        self, endpoints: Endpoints, pattern: CallPattern, *, before_execution: bool = False
    ) -> None:
        self._pattern = pattern
        self._before_execution = before_execution
        self._lock = threading.Lock()
        self._matched = False
        self._held = threading.Event()
        self._released = threading.Event()
        self._must_reset = False
        self._proxy = FaultProxy(getattr(endpoints, pattern.service), fault_for=self._fault_for)
        self.endpoints = replace(endpoints, **{pattern.service: self._proxy.url})

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._must_reset = not self._released.is_set()
        self._released.set()
        self._proxy.__exit__()

    def wait_until_held(self) -> None:
        assert self._held.wait(DEFAULT_TIMEOUT_S), f"no {self._pattern.operation} was called"

    def release(self) -> None:
        self._released.set()

    def _fault_for(self, call: AwsCall) -> Fault:
        with self._lock:
            if self._matched or not self._pattern.matches(call):
                return no_fault
            self._matched = True
        return self._hold

    def _hold(self, _: AwsCall, forward: Callable[[], Reply]) -> Reply:
        if self._before_execution:
            self._wait_for_release()
            return forward()
        reply = forward()
        self._wait_for_release()
        return reply

    def _wait_for_release(self) -> None:
        self._held.set()
        self._released.wait(DEFAULT_TIMEOUT_S)
        if self._must_reset:
            raise ResetConnection
