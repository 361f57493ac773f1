"""The servers that images come from: some well, some badly, some only when told to."""

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Self

from aiohttp import web

from local.ports import HOST
from rehearsal.changes import Changes

SAMPLES = Path(__file__).parents[1] / "local" / "samples"
IMAGE = "rocket.jpg"


class ImageSource:
    """Runs inside an ``async with``. The host is loopback, so workers must be told to allow it."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._stack = AsyncExitStack()
        self._released = asyncio.Event()
        self._failed_once: set[str] = set()
        self.waiting = 0
        """Downloads that are held."""

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, 0).start()
        self.port: int = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._stack.aclose()

    def url(self, name: str = IMAGE) -> str:
        return f"http://{HOST}:{self.port}/{name}"

    def held_url(self) -> str:
        """An image that comes only once ``release`` is called."""
        return self.url(f"held/{IMAGE}")

    def recovering_url(self) -> str:
        """An image whose server answers 503 once."""
        return self.url(f"recovering/{IMAGE}")

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    async def holds(self, downloads: int) -> None:
        """Wait until so many downloads are held."""
        await self._changes.until(lambda: self.waiting >= downloads)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        folder, _, name = request.path.lstrip("/").rpartition("/")
        if folder == "held":
            await self._hold()
        if folder == "recovering" and request.path not in self._failed_once:
            self._failed_once.add(request.path)
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        if name == "page":
            return web.Response(text="<html>no image</html>", content_type="text/html")
        image = SAMPLES / name
        if image.parent != SAMPLES or not image.is_file():
            return web.Response(status=HTTPStatus.NOT_FOUND)
        return web.FileResponse(image)

    async def _hold(self) -> None:
        self.waiting += 1
        self._changes.note()
        try:
            await self._released.wait()
        finally:
            self.waiting -= 1
            self._changes.note()
