"""Stopping a blocking step of an attempt from another thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupt:
    """Thread-safe. Once set, it stays set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._actions: list[Callable[[], None]] = []

    def set(self) -> None:
        """Call the actions of all steps in progress, and of those that start later."""
        with self._lock:
            self._is_set = True
            for action in self._actions:
                action()

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """Call `action` if the interrupt is set during the block or was set before.

        `action` ends the block, for example by killing the process that it waits for. It must be
        quick. It is never called after the block.
        """
        with self._lock:
            self._actions.append(action)
            if self._is_set:
                action()
        try:
            yield
        finally:
            with self._lock:
                self._actions.remove(action)
