"""Polling for changes in other processes, which send no notification."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 60.0
"""For conditions that become true within seconds on an idle machine."""
POLL_INTERVAL_S = 0.02


class WaitTimeout(AssertionError):
    """A condition did not become true in time."""


def wait_until(
    condition: Callable[[], T | None], description: str, *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> T:
    """Wait until `condition` returns a true value, and return it. Raises ``WaitTimeout``."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise WaitTimeout(f"Not within {timeout_s:g} s: {description}")
        time.sleep(POLL_INTERVAL_S)
    return value
