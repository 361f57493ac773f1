"""Each process of the API keeps to one core, however many threads it has.

Only one thread of a process runs Python at a time, and every call to AWS gives another its turn.
When the kernel spreads them over the cores, the interpreter's memory travels from one core's cache
to another's at every turn: for four clients at once on two cores, a submission took 3.3 ms of CPU
time, and 2.4 ms on one core.
"""

import os
import random
import sys
from collections.abc import Collection, Sequence


def usable() -> Collection[int]:
    """The cores that this process may use; empty where the system does not say, as on macOS."""
    return os.sched_getaffinity(0) if sys.platform == "linux" else ()


def choose(cores: Collection[int], *, taken: Sequence[int | None]) -> int | None:
    """One of the least taken, or None where there are none to choose from.

    Which of them is left to chance, as containers on one machine do not know of each other.
    """
    # Randomness that nobody gains from guessing.
    return min(cores, key=lambda core: (taken.count(core), random.random()), default=None)  # noqa: S311


def keep_to(core: int | None) -> None:
    """Run this process and all its threads to come on `core` only; None leaves it as it is."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {core})
