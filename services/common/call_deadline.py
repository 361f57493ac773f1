"""The time by which the calls to AWS of one request must end.

It belongs to the current thread, like the context of its log lines. `aws.Aws` reads it before every
try of a call. Code without a deadline, such as the worker's, has no limit besides those of each
call.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("call_deadline", default=math.inf)


@contextmanager
def calls_end_by(instant: float) -> Iterator[None]:
    """Calls during this ``with`` end by `instant`, on the monotonic clock."""
    token = _ends_at.set(instant)
    try:
        yield
    finally:
        _ends_at.reset(token)


def call_deadline() -> float:
    """The deadline on the monotonic clock, or infinity."""
    return _ends_at.get()


def remaining_s() -> float:
    """Seconds until the deadline, or infinity."""
    return call_deadline() - time.monotonic()
