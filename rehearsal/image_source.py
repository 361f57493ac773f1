"""An HTTP server for the images that tasks name. It can hold responses back and fail once."""

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Self

from aiohttp import web

from local.ports import HOST
from rehearsal.change_notifier import ChangeNotifier

SAMPLES = Path(__file__).parents[1] / "local" / "samples"
IMAGE = "rocket.jpg"


class ImageSource:
    """Runs inside an ``async with``, on loopback, so workers must be configured to allow it."""

    def __init__(self, changes: ChangeNotifier) -> None:
        self._changes = changes
        self._stack = AsyncExitStack()
        self._released = asyncio.Event()
        self._failed_paths: set[str] = set()
        self._held_requests = 0

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._respond, access_log=None), shutdown_timeout=1)
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
        """An image that is sent only after ``release`` is called."""
        return self.url(f"held/{IMAGE}")

    def recovering_url(self) -> str:
        """An image whose first request is answered with 503."""
        return self.url(f"recovering/{IMAGE}")

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    async def wait_until_held(self, requests: int) -> None:
        """Wait until this many requests are held."""
        await self._changes.wait_for(lambda: self._held_requests >= requests)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        folder, _, name = request.path.lstrip("/").rpartition("/")
        if folder == "held":
            await self._hold()
        if folder == "recovering" and request.path not in self._failed_paths:
            self._failed_paths.add(request.path)
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        if name == "page":
            return web.Response(text="<html>no image</html>", content_type="text/html")
        image = SAMPLES / name
        if image.parent != SAMPLES or not image.is_file():
            return web.Response(status=HTTPStatus.NOT_FOUND)
        return web.FileResponse(image)

    async def _hold(self) -> None:
        self._held_requests += 1
        self._changes.notify()
        try:
            await self._released.wait()
        finally:
            self._held_requests -= 1
            self._changes.notify()
