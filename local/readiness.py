"""When the system can be used: the API says so itself, and the worker polls."""

import asyncio
from pathlib import Path

from local.ports import HOST

READY_WITHIN_S = 60
"""Imports of a cold disk on a slow machine included."""
ASK_EVERY_S = 0.05


class StartTimeout(Exception):
    pass


async def wait_until_ready(*, api_port: int, worker_health_file: Path) -> None:
    """Raises ``StartTimeout``."""
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            # Other processes set no event of ours.
            while not (await _api_is_ready(api_port) and worker_health_file.exists()):  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(ASK_EVERY_S)
    except TimeoutError:
        raise StartTimeout(
            f"API and worker were not ready after {READY_WITHIN_S} s: see their lines above."
        ) from None


async def _api_is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        status_line = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return b" 200 " in status_line
