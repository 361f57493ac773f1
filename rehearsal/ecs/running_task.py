"""One task: a container with an address, a role, and somebody who looks after its health."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from rehearsal.changes import Changes
from rehearsal.ecs.definitions import HealthCheck, TaskDefinition
from rehearsal.ecs.engine import Container

START_INTERVAL_S = 5.0
"""Between health checks in the start period: Docker's ``--health-start-interval``."""

LAST_LINES = 12
LOOK_EVERY_S = 0.1


class ContainerHealth(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class RunningTask:
    """`health` stays unknown where no check is defined."""

    def __init__(
        self,
        *,
        name: str,
        definition: TaskDefinition,
        container: Container,
        address: str,
        log: Path,
        changes: Changes,
    ) -> None:
        self.name = name
        self.definition = definition
        self.container = container
        self.address = address
        self.health = ContainerHealth.UNKNOWN
        self.health_reason = ""
        self.stopping = False
        """It is to leave: first the load balancer, then altogether."""
        self.told_to_stop = False
        """It has got its stop signal."""
        self._log = log
        self._changes = changes

    def last_lines(self) -> Sequence[str]:
        """The end of what it printed."""
        with self._log.open(errors="replace") as lines:
            return [f"{self.name}: {line.rstrip()}" for line in deque(lines, LAST_LINES)]

    def last_words(self) -> str:
        """The last line that it printed."""
        return next(reversed(self.last_lines()), "it said nothing").removeprefix(f"{self.name}: ")

    async def says(self, text: str) -> None:
        """Wait until it has printed `text`."""
        # A file tells nobody that it has grown.
        while text not in await asyncio.to_thread(self._log.read_text, errors="replace"):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)

    async def keep_checking(self, check: HealthCheck) -> None:
        """Run the container's health check until cancelled, by Docker's rules."""
        started, failures = time.monotonic(), 0
        while True:
            starting = time.monotonic() - started < check.start_period_s
            starting &= self.health is ContainerHealth.UNKNOWN
            await asyncio.sleep(START_INTERVAL_S if starting else check.interval_s)
            reason = await self._check(check)
            if reason is None:
                failures, self.health = 0, ContainerHealth.HEALTHY
            elif not starting:
                failures += 1
                self.health_reason = reason
                if failures >= check.retries:
                    self.health = ContainerHealth.UNHEALTHY
            self._changes.note()

    async def _check(self, check: HealthCheck) -> str | None:
        """Why the check failed; None when it did not."""
        try:
            async with asyncio.timeout(check.timeout_s):
                exit_code, output = await self.container.execute(check.command)
        except TimeoutError:
            return f"its health check takes more than {check.timeout_s:g} s"
        return None if exit_code == 0 else f"its health check says: {output or exit_code}"
