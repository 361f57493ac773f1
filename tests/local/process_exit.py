"""Wait for processes to exit."""

from collections.abc import Iterable, Iterator
from time import monotonic, sleep

import psutil

TIMEOUT_S = 10


def wait_for_exit(pids: Iterable[int]) -> bool:
    """Whether all processes exit in time. A zombie has exited; its parent reaps it later."""
    pids = list(pids)
    deadline = monotonic() + TIMEOUT_S
    while any(_alive(pids)) and monotonic() < deadline:
        sleep(0.01)
    return not any(_alive(pids))


def _alive(pids: Iterable[int]) -> Iterator[bool]:
    for pid in pids:
        try:
            yield psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            yield False
