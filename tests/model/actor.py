"""Work that stands still before every call to the outside, until it is told how the call goes.

Each actor runs in a thread of its own, but never two at once: whoever drives them decides, call by
call, who goes on and what becomes of it. So every interleaving of calls can be had, and had again.
"""

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

PATIENCE_S = 60


class Fate(Enum):
    """What becomes of a call."""

    GOES_WELL = "goes well"
    REFUSED = "is refused, for instance throttled or with expired credentials"
    LOST = "times out before it takes effect"
    UNHEARD = "takes effect and times out"
    RESENT = "takes effect, times out and is sent again"
    CRASH_BEFORE = "the process dies before it takes effect"
    CRASH_AFTER = "the process dies after it took effect"


class Crash(BaseException):
    """The process is dead: nothing after this line happens, and no `except Exception` sees it."""


class Line:
    """The way of one process to the outside. `next_fate` is asked before every call."""

    def __init__(self, next_fate: Callable[[str], Fate]) -> None:
        self._next_fate = next_fate

    def call(self, name: str, effect: Callable[[], Any]) -> Any:
        while True:
            match self._next_fate(name):
                case Fate.GOES_WELL:
                    return effect()
                case Fate.REFUSED:
                    raise ClientError({"Error": {"Code": "ThrottlingException"}}, name)
                case Fate.LOST:
                    raise ReadTimeoutError(endpoint_url="https://aws")
                case Fate.UNHEARD:
                    _answer_of(effect)
                    raise ReadTimeoutError(endpoint_url="https://aws")
                case Fate.RESENT:
                    _answer_of(effect)
                case Fate.CRASH_BEFORE:
                    raise Crash
                case Fate.CRASH_AFTER:
                    _answer_of(effect)
                    raise Crash

    def to(self, client: object) -> Any:
        """`client` as this process reaches it."""
        return _Client(self, client)


def _answer_of(effect: Callable[[], Any]) -> None:
    """Let the call have its effect; nobody hears the answer, not even a refusal."""
    try:
        effect()
    except ClientError:
        return


class _Client:
    def __init__(self, line: Line, client: object) -> None:
        self._line = line
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if name == "get_paginator":
            return method  # type: ignore[no-any-return] # reads of the index are never cut
        return lambda **request: self._line.call(name, lambda: method(**request))


class Actor:
    """`work` is given the line on which it makes its calls, and started by the first `step`."""

    def __init__(self, name: str, work: Callable[["Line"], object]) -> None:
        self.name = name
        self.calls: str | None = None
        """The call before which it stands; None before the first step and after the end."""
        self.over = False
        self.crashed = False
        self.result: object = None
        self.error: Exception | None = None
        self._fate = Fate.GOES_WELL
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def step(self, fate: Fate = Fate.GOES_WELL) -> None:
        """Let the call before which it stands have its fate, and go on to the next one or the end.

        The first step only goes to the first call.
        """
        assert not self.over
        self._fate = fate
        self._go.release()
        assert self._stands.acquire(timeout=PATIENCE_S), f"{self.name} hangs in {self.calls}"

    def finish(self) -> None:
        """Let all that is left go well."""
        while not self.over:
            self.step()

    def kill(self) -> None:
        while not self.over:
            self.step(Fate.CRASH_BEFORE)

    def _run(self, work: Callable[["Line"], object]) -> None:
        self._go.acquire()
        try:
            self.result = work(Line(self._stand))
        except Crash:
            self.crashed = True
        except Exception as error:  # noqa: BLE001 - whoever drives looks at it
            self.error = error
        self.calls = None
        self.over = True
        self._stands.release()

    def _stand(self, call: str) -> Fate:
        self.calls = call
        self._stands.release()
        self._go.acquire()
        return self._fate
