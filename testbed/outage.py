"""An outage of one AWS service that hangs: it accepts calls and does not answer them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from testbed.fault_proxy import AwsCall, Fault, FaultProxy, Reply, ResetConnection, no_fault
from testbed.waiting import DEFAULT_TIMEOUT_S


class HangingService:
    """A proxy in front of a service, for use in a ``with``. Outside of `hanging`, calls pass."""

    def __init__(self, upstream: str) -> None:
        self._over = threading.Event()
        self._over.set()
        self._proxy = FaultProxy(upstream, fault_for=self._fault_for)
        self.url = self._proxy.url

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._proxy.__exit__()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """During this ``with``, no call has an effect or gets a response."""
        self._over.clear()
        try:
            yield
        finally:
            self._over.set()

    def _fault_for(self, _: AwsCall) -> Fault:
        return no_fault if self._over.is_set() else self._hang

    def _hang(self, _: AwsCall, __: Callable[[], Reply]) -> Reply:
        self._over.wait(DEFAULT_TIMEOUT_S)
        raise ResetConnection
