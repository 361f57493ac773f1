"""Waiting until something is the case, without asking again and again."""

import asyncio
from collections.abc import Callable


class Changes:
    """Whoever changes anything says so; whoever waits looks again. For one event loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            await self._changed.wait()
