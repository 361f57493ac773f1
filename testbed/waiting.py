"""Waiting for what other processes do, which set no event of ours."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
"""For what takes seconds on an idle machine."""
ASK_EVERY_S = 0.02


class TookTooLong(AssertionError):
    pass


def until(condition: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
    """What `condition` gives as soon as that is true; raises ``TookTooLong``."""
    end = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TookTooLong(f"not within {within_s:g} s: {what}")
        time.sleep(ASK_EVERY_S)
    return answer
