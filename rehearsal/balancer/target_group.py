"""A target group: registered containers, their health, and which one gets the next request.

Sources: "Health checks for Application Load Balancer target groups" and "Edit target group
attributes", Elastic Load Balancing User Guide.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import count

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from rehearsal.balancer.settings import TargetGroupSettings
from rehearsal.change_notifier import ChangeNotifier


class TargetHealth(StrEnum):
    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class HealthState:
    """The health of a target after its checks so far. `reason` says why the last check failed."""

    def __init__(self) -> None:
        self.health = TargetHealth.INITIAL
        self.reason = ""
        self._successes = 0
        self._failures = 0

    def record_check(self, failure: str | None, settings: TargetGroupSettings) -> None:
        """Record one health check. `failure` says why it failed, and is None if it succeeded."""
        check = settings.health_check
        if failure is None:
            self._successes, self._failures = self._successes + 1, 0
            # A new target becomes healthy with its first success.
            is_new = self.health is TargetHealth.INITIAL
            required = 1 if is_new else check.healthy_threshold
            if self._successes >= required:
                self.health = TargetHealth.HEALTHY
        else:
            self._successes, self._failures = 0, self._failures + 1
            self.reason = failure
            if self._failures >= check.unhealthy_threshold:
                self.health = TargetHealth.UNHEALTHY


class Target(HealthState):
    """The address of a container. `session` keeps connections to it open."""

    def __init__(self, address: str, port: int, *, session: ClientSession) -> None:
        super().__init__()
        self.port = port
        self.url = f"http://{address}:{port}"
        self.session = session
        self.in_flight = 0


class TargetGroup:
    """Checks the health of its registered targets."""

    def __init__(
        self, settings: TargetGroupSettings, *, idle_timeout_s: int, changes: ChangeNotifier
    ) -> None:
        self.settings = settings
        self.changes = changes
        self._idle_timeout_s = idle_timeout_s
        self._targets: dict[str, Target] = {}
        self._request_numbers = count()

    def next_target(self) -> Target | None:
        """The target of the next request, round robin.

        Requests go to healthy targets. If there are none, they go to all targets (fail open).
        """
        registered = [
            target
            for target in self._targets.values()
            if target.health is not TargetHealth.DRAINING
        ]
        healthy = [target for target in registered if target.health is TargetHealth.HEALTHY]
        candidates: Sequence[Target] = healthy or registered
        return candidates[next(self._request_numbers) % len(candidates)] if candidates else None

    def target(self, address: str) -> Target | None:
        """The target at this address; None if it is not registered."""
        return self._targets.get(address)

    async def keep_checking(self, address: str, port: int) -> None:
        """Register a target and check its health until canceled, which deregisters it."""
        session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=self._idle_timeout_s),
            timeout=ClientTimeout(total=None, sock_read=self._idle_timeout_s),
            auto_decompress=False,
        )
        target = self._targets[address] = Target(address, port, session=session)
        try:
            while True:
                check = asyncio.create_task(self._check(target))
                # The interval runs from start to start, however long the check takes.
                await asyncio.sleep(self.settings.health_check.interval_s)
                await check
        finally:
            check.cancel()
            del self._targets[address]
            self.changes.notify()
            await session.close()

    async def drain(self, address: str) -> None:
        """Stop sending requests to a target, and close its connections.

        Requests in flight may finish within the deregistration delay.
        """
        target = self._targets[address]
        target.health = TargetHealth.DRAINING
        self.changes.notify()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.deregistration_delay_s):
                await self.changes.wait_for(lambda: target.in_flight == 0)
        await target.session.close()

    def start_request(self, target: Target) -> None:
        target.in_flight += 1

    def end_request(self, target: Target) -> None:
        target.in_flight -= 1
        self.changes.notify()

    async def _check(self, target: Target) -> None:
        failure = await self._probe(target)
        if target.health is not TargetHealth.DRAINING:
            target.record_check(failure, self.settings)
            self.changes.notify()

    async def _probe(self, target: Target) -> str | None:
        """Send one health check. Returns why it failed, and None if it succeeded."""
        check = self.settings.health_check
        try:
            async with target.session.get(
                target.url + check.path,
                timeout=ClientTimeout(total=check.timeout_s),
                allow_redirects=False,
                headers={"User-Agent": "ELB-HealthChecker/2.0", "Connection": "close"},
            ) as response:
                if response.status in check.codes:
                    return None
                expected = ", ".join(map(str, sorted(check.codes)))
                return f"returned {response.status}, not {expected}"
        except TimeoutError:
            return f"got no response within {check.timeout_s} s"
        except ClientError as error:
            return f"got no response ({error})"
