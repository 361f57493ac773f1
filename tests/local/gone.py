"""Whether processes have ended."""

from collections.abc import Iterable, Iterator
from time import monotonic, sleep

import psutil

WITHIN_S = 10
"""A killed process goes when the kernel comes to it."""


def are_gone(pids: Iterable[int]) -> bool:
    """Wait for it. A zombie has ended: when it is reaped is the affair of its new parent."""
    pids = list(pids)
    deadline = monotonic() + WITHIN_S
    while any(_alive(pids)) and monotonic() < deadline:
        sleep(0.01)
    return not any(_alive(pids))


def _alive(pids: Iterable[int]) -> Iterator[bool]:
    for pid in pids:
        try:
            yield psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            yield False
