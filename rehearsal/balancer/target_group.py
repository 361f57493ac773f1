"""A target group: which containers get requests, and which are healthy enough for it.

Source of its rules: "Health checks for Application Load Balancer target groups" and "Edit target
group attributes", Elastic Load Balancing User Guide.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import count

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from rehearsal.balancer.settings import TargetGroupSettings
from rehearsal.changes import Changes


class Health(StrEnum):
    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class CheckedHealth:
    """What came out of the checks so far. `reason` is what the last failed one found."""

    def __init__(self) -> None:
        self.health = Health.INITIAL
        self.reason = ""
        self._successes = 0
        self._failures = 0

    def note_check(self, reason: str | None, settings: TargetGroupSettings) -> None:
        """Take account of one check; `reason` is why it failed."""
        check = settings.health_check
        if reason is None:
            self._successes, self._failures = self._successes + 1, 0
            # A new target needs one success only.
            needed = 1 if self.health is Health.INITIAL else check.healthy_threshold
            if self._successes >= needed:
                self.health = Health.HEALTHY
        else:
            self._successes, self._failures = 0, self._failures + 1
            self.reason = reason
            if self._failures >= check.unhealthy_threshold:
                self.health = Health.UNHEALTHY


class Target(CheckedHealth):
    """One container's address; `session` keeps connections to it."""

    def __init__(self, address: str, port: int, *, session: ClientSession) -> None:
        super().__init__()
        self.port = port
        self.url = f"http://{address}:{port}"
        self.session = session
        self.in_flight = 0


class TargetGroup:
    """Checks its targets for as long as they are registered."""

    def __init__(
        self, settings: TargetGroupSettings, *, idle_timeout_s: int, changes: Changes
    ) -> None:
        self.settings = settings
        self.changes = changes
        self._idle_timeout_s = idle_timeout_s
        self._targets: dict[str, Target] = {}
        self._turn = count()

    def choose(self) -> Target | None:
        """The target of the next request, in turn. With none healthy all are tried: fail open."""
        serving = [each for each in self._targets.values() if each.health is not Health.DRAINING]
        healthy = [each for each in serving if each.health is Health.HEALTHY]
        choice: Sequence[Target] = healthy or serving
        return choice[next(self._turn) % len(choice)] if choice else None

    def target(self, address: str) -> Target | None:
        """The target at this address, if it is registered."""
        return self._targets.get(address)

    async def keep_checking(self, address: str, port: int) -> None:
        """Register the target, and check it until cancelled; then it is gone at once."""
        session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=self._idle_timeout_s),
            timeout=ClientTimeout(total=None, sock_read=self._idle_timeout_s),
            auto_decompress=False,
        )
        target = self._targets[address] = Target(address, port, session=session)
        try:
            while True:
                check = asyncio.create_task(self._check(target))
                # The interval does not wait for the answer.
                await asyncio.sleep(self.settings.health_check.interval_s)
                await check
        finally:
            check.cancel()
            del self._targets[address]
            self.changes.note()
            await session.close()

    async def drain(self, address: str) -> None:
        """Give the target no new request, await those under way, up to the delay, and hang up."""
        target = self._targets[address]
        target.health = Health.DRAINING
        self.changes.note()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.deregistration_delay_s):
                await self.changes.until(lambda: target.in_flight == 0)
        await target.session.close()

    def request_begins(self, target: Target) -> None:
        target.in_flight += 1

    def request_ends(self, target: Target) -> None:
        target.in_flight -= 1
        self.changes.note()

    async def _check(self, target: Target) -> None:
        reason = await self._ask(target)
        if target.health is not Health.DRAINING:
            target.note_check(reason, self.settings)
            self.changes.note()

    async def _ask(self, target: Target) -> str | None:
        """Why the target is not healthy; None when it is."""
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
                return f"answers {response.status}, expected is {expected}"
        except TimeoutError:
            return f"does not answer within {check.timeout_s} s"
        except ClientError as error:
            return f"does not answer ({error})"
