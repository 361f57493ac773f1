"""Waiting for a condition without polling."""

import asyncio
from collections.abc import Callable


class ChangeNotifier:
    """Wakes all waiters after each change, so that they check their condition again.

    All calls must come from one event loop.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            await self._changed.wait()
