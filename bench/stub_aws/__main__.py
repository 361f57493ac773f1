"""Serve until terminated: ``python -m bench.stub_aws PORT IMAGES SECRET``."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.stub_aws.http_server import Connection
from bench.stub_aws.service import StubService
from local.ports import HOST


async def serve(port: int, images: Mapping[str, bytes], secret: str) -> None:
    service = StubService(images=images, secret=secret, endpoint_url=f"http://{HOST}:{port}")
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(service.handle), HOST, port, backlog=1_024
    )
    await server.serve_forever()


if __name__ == "__main__":
    port, folder, secret = sys.argv[1:]
    images = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    asyncio.run(serve(int(port), images, secret))
