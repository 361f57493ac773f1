"""A thread that pauses before every call to the outside until a test decides how the call goes.

Each actor runs in its own thread, but only one runs at a time. The test decides, call by call,
which actor continues and how its call ends. Every interleaving of calls is therefore possible and
repeatable.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from testbed.waiting import DEFAULT_TIMEOUT_S


class CallOutcome(Enum):
    """How a call ends."""

    SUCCEEDS = "succeeds"
    REJECTED = "is rejected, for example throttled or with expired credentials"
    TIMEOUT_BEFORE = "times out before it takes effect"
    TIMEOUT_AFTER = "takes effect and times out"
    SENT_TWICE = "takes effect, times out and is sent again"
    CRASH_BEFORE = "the process dies before the call takes effect"
    CRASH_AFTER = "the process dies after the call took effect"


class Crash(BaseException):
    """The process has died. It is not an ``Exception``, so that no handler catches it."""


class CallGate:
    """All calls of one process to the outside. `next_outcome` is called before each of them."""

    def __init__(self, next_outcome: Callable[[str], CallOutcome]) -> None:
        self._next_outcome = next_outcome

    def call(self, name: str, effect: Callable[[], Any]) -> Any:
        while True:
            match self._next_outcome(name):
                case CallOutcome.SUCCEEDS:
                    return effect()
                case CallOutcome.REJECTED:
                    raise ClientError({"Error": {"Code": "ThrottlingException"}}, name)
                case CallOutcome.TIMEOUT_BEFORE:
                    raise ReadTimeoutError(endpoint_url="https://aws")
                case CallOutcome.TIMEOUT_AFTER:
                    _apply(effect)
                    raise ReadTimeoutError(endpoint_url="https://aws")
                case CallOutcome.SENT_TWICE:
                    _apply(effect)
                case CallOutcome.CRASH_BEFORE:
                    raise Crash
                case CallOutcome.CRASH_AFTER:
                    _apply(effect)
                    raise Crash

    def wrap(self, client: object) -> Any:
        """`client`, with every call going through this gate."""
        return _GatedClient(self, client)


def _apply(effect: Callable[[], Any]) -> None:
    """Let a call take effect and discard its response, even if that is an error."""
    with suppress(ClientError):
        effect()


class _GatedClient:
    def __init__(self, gate: CallGate, client: object) -> None:
        self._gate = gate
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if name == "get_paginator":
            return method  # type: ignore[no-any-return] # index queries always succeed
        return lambda **request: self._gate.call(name, lambda: method(**request))


class Actor:
    """Runs `work` with the gate for its calls. The first `step` starts it."""

    def __init__(self, name: str, work: Callable[[CallGate], object]) -> None:
        self.name = name
        self.pending_call: str | None = None
        """The call before which the actor has paused. None before the first step and at the end."""
        self.finished = False
        self.error: Exception | None = None
        self._outcome = CallOutcome.SUCCEEDS
        self._resume = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def step(self, outcome: CallOutcome = CallOutcome.SUCCEEDS) -> None:
        """End the pending call with `outcome`, then run to the next call or to the end.

        The first step only runs to the first call.
        """
        assert not self.finished
        self._outcome = outcome
        self._resume.release()
        paused = self._paused.acquire(timeout=DEFAULT_TIMEOUT_S)
        assert paused, f"{self.name} hangs in {self.pending_call}"

    def kill(self) -> None:
        while not self.finished:
            self.step(CallOutcome.CRASH_BEFORE)

    def _run(self, work: Callable[[CallGate], object]) -> None:
        self._resume.acquire()
        try:
            with suppress(Crash):
                work(CallGate(self._pause))
        except Exception as error:  # noqa: BLE001 - the test inspects it
            self.error = error
        self.pending_call = None
        self.finished = True
        self._paused.release()

    def _pause(self, call: str) -> CallOutcome:
        self.pending_call = call
        self._paused.release()
        self._resume.acquire()
        return self._outcome
