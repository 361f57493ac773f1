"""Workers on Fargate: how long they take to start, what Spot takes away, and what they cost."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy
from numpy.random import Generator as Random

START_S = (30, 60, 120)
"""Shortest, most frequent and longest time from launching a container to its first poll. An
assumption: AWS re:Post calls 30 to 45 s or longer normal, and a larger image takes longer to pull.

Source: "How to speed up provisioning of ECS Fargate task", AWS re:Post."""

MIN_CHARGED_S = 60
"""Source: https://aws.amazon.com/fargate/pricing/"""

SPOT_NOTICE_S = 120
"""Time between the warning and the end of a Spot container.

Source: "Amazon ECS clusters for Fargate", Amazon ECS Developer Guide."""

SPOT_RETRY_S = 60
"""How often ECS tries again while there is no Spot capacity. An assumption."""


@dataclass(frozen=True)
class SpotLoss:
    """Spot takes back a share of its containers and has no capacity for a while."""

    at_s: int
    share: float
    outage_s: int


@dataclass
class Container:
    """A worker container."""

    spot: bool
    process: simpy.Process | None = None
    running: bool = False
    stopping: bool = False


class Fleet:
    """Keeps as many containers as desired, and adds up the time that they are charged for."""

    def __init__(
        self,
        environment: simpy.Environment,
        random: Random,
        *,
        on_demand_base: int,
        spot_share: float,
        drain_s: int,
    ) -> None:
        self._environment = environment
        self._random = random
        self._on_demand_base = on_demand_base
        self._spot_share = spot_share
        self._drain_s = drain_s
        self._containers: list[Container] = []
        self._spot_available_at_s = 0.0
        self.running = 0
        """Containers that receive messages."""
        self.charged_s = {"on demand": 0.0, "spot": 0.0}

    def begin_with(self, count: int) -> None:
        """Let `count` containers run from the start."""
        for _ in range(count):
            self._launch(start_s=0)

    def reconcile(self, desired: int) -> None:
        """Launch or stop containers. Those that are still starting stop first, then the newest."""
        active = [each for each in self._containers if not each.stopping]
        for _ in range(desired - len(active)):
            self._launch(start_s=self._random.triangular(*START_S))
        surplus = len(active) - desired
        if surplus > 0:
            newest_first = active[::-1]
            for container in sorted(newest_first, key=lambda each: each.running)[:surplus]:
                self._stop(container)

    def lose_spot(self, loss: SpotLoss) -> None:
        """Interrupt a share of the Spot containers, and refuse new ones for a while."""
        self._spot_available_at_s = self._environment.now + loss.outage_s
        spot = [each for each in self._containers if each.spot and not each.stopping]
        for container in spot[: round(len(spot) * loss.share)]:
            self._stop(container)

    def _launch(self, start_s: float) -> None:
        container = Container(spot=self._next_is_spot())
        self._containers.append(container)
        container.process = self._environment.process(self._life(container, start_s))

    def _next_is_spot(self) -> bool:
        """The base runs on demand. The others are shared out by the weights of the providers."""
        active = [each for each in self._containers if not each.stopping]
        others = len(active) - self._on_demand_base
        if others < 0:
            return False
        return sum(each.spot for each in active) < (others + 1) * self._spot_share

    def _stop(self, container: Container) -> None:
        container.stopping = True
        if container.running:
            container.running = False
            self.running -= 1
        if container.process is not None:
            container.process.interrupt()

    def _life(self, container: Container, start_s: float) -> Generator[simpy.Event, Any, None]:
        launched_at_s: float | None = None
        drain_s = 0
        try:
            while container.spot and self._environment.now < self._spot_available_at_s:
                yield self._environment.timeout(SPOT_RETRY_S)
            launched_at_s = self._environment.now
            yield self._environment.timeout(start_s)
            container.running = True
            self.running += 1
            drain_s = self._drain_s
            yield self._environment.event()  # until it is stopped
        except simpy.Interrupt:
            yield self._environment.timeout(drain_s)
        self._containers.remove(container)
        if launched_at_s is not None:
            self._charge(container, self._environment.now - launched_at_s)

    def _charge(self, container: Container, seconds: float) -> None:
        self.charged_s["spot" if container.spot else "on demand"] += max(seconds, MIN_CHARGED_S)

    def close(self) -> None:
        """Charge the containers that still exist."""
        for container in [each for each in self._containers if not each.stopping]:
            self._stop(container)
