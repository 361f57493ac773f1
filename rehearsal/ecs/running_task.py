"""A running task: a container with an address, a log and a health status."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from rehearsal.change_notifier import ChangeNotifier
from rehearsal.ecs.definitions import HealthCheck, TaskDefinition
from rehearsal.ecs.engine import Container

START_INTERVAL_S = 5.0
"""Time between health checks in the start period: the default of Docker's
``--health-start-interval``."""

MAX_LINES = 12
"""Lines of output that are shown of a failed task."""
POLL_INTERVAL_S = 0.1


class ContainerHealth(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class RunningTask:
    """`health` stays unknown if the task definition has no health check."""

    def __init__(
        self,
        *,
        name: str,
        definition: TaskDefinition,
        container: Container,
        address: str,
        log: Path,
        changes: ChangeNotifier,
    ) -> None:
        self.name = name
        self.definition = definition
        self.container = container
        self.address = address
        self.health = ContainerHealth.UNKNOWN
        self.health_reason = ""
        self.stopping = False
        """True from the decision to stop the task; at first it only leaves the load balancer."""
        self.stop_signal_sent = False
        self._log = log
        self._changes = changes

    def last_lines(self) -> Sequence[str]:
        """The last lines of output, prefixed with the task's name."""
        with self._log.open(errors="replace") as lines:
            return [f"{self.name}: {line.rstrip()}" for line in deque(lines, MAX_LINES)]

    def last_line(self) -> str:
        """The last line of output."""
        return next(reversed(self.last_lines()), "no output").removeprefix(f"{self.name}: ")

    async def wait_for_output(self, text: str) -> None:
        """Wait until the output contains `text`."""
        # Files do not notify readers.
        while text not in await asyncio.to_thread(self._log.read_text, errors="replace"):  # noqa: ASYNC110
            await asyncio.sleep(POLL_INTERVAL_S)

    async def keep_checking(self, check: HealthCheck) -> None:
        """Run the container's health check until canceled, by Docker's rules."""
        started, failures = time.monotonic(), 0
        while True:
            in_start_period = (
                time.monotonic() - started < check.start_period_s
                and self.health is ContainerHealth.UNKNOWN
            )
            await asyncio.sleep(START_INTERVAL_S if in_start_period else check.interval_s)
            reason = await self._check(check)
            if reason is None:
                failures, self.health = 0, ContainerHealth.HEALTHY
            elif not in_start_period:
                failures += 1
                self.health_reason = reason
                if failures >= check.retries:
                    self.health = ContainerHealth.UNHEALTHY
            self._changes.notify()

    async def _check(self, check: HealthCheck) -> str | None:
        """Run the health check once. Returns why it failed, and None if it succeeded."""
        try:
            async with asyncio.timeout(check.timeout_s):
                exit_code, output = await self.container.execute(check.command)
        except TimeoutError:
            return f"its health check takes more than {check.timeout_s:g} s"
        return None if exit_code == 0 else f"its health check failed: {output or exit_code}"
