"""Waits until the API is ready and the worker polls the queue."""

import asyncio
from pathlib import Path

from local.ports import HOST

START_TIMEOUT_S = 60
"""Allows for imports from a cold disk on a slow machine."""
POLL_INTERVAL_S = 0.05


class StartTimeout(Exception):
    pass


async def wait_until_ready(*, api_port: int, worker_health_file: Path) -> None:
    """Raises ``StartTimeout``."""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            # Other processes cannot set an asyncio event.
            while not (await _api_is_ready(api_port) and worker_health_file.exists()):  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise StartTimeout(
            f"API and worker were not ready after {START_TIMEOUT_S} s. See their output above."
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
