"""Which targets get requests: health by the deployed thresholds, turns, and leaving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from rehearsal.balancer.settings import HealthCheckSettings, TargetGroupSettings
from rehearsal.balancer.target_group import CheckedHealth, Health, Target, TargetGroup
from rehearsal.changes import Changes
from tests.rehearsal.loopback import HOST, serving

SETTINGS = TargetGroupSettings(
    arn="group",
    health_check=HealthCheckSettings(
        path="/healthz",
        interval_s=60,
        timeout_s=1,
        healthy_threshold=2,
        unhealthy_threshold=3,
        codes=frozenset({200}),
    ),
    deregistration_delay_s=1,
)
WELL, ILL = None, "answers 500"


def checked(*reasons: str | None) -> CheckedHealth:
    target = CheckedHealth()
    for reason in reasons:
        target.note_check(reason, SETTINGS)
    return target


@pytest.mark.parametrize(
    ("checks", "health"),
    [
        ((), Health.INITIAL),
        ((WELL,), Health.HEALTHY),
        ((ILL, ILL), Health.INITIAL),
        ((ILL, ILL, WELL), Health.HEALTHY),
        ((ILL, ILL, ILL), Health.UNHEALTHY),
        ((WELL, ILL, ILL, WELL, ILL, ILL), Health.HEALTHY),
        ((WELL, ILL, ILL, ILL), Health.UNHEALTHY),
        ((ILL, ILL, ILL, WELL), Health.UNHEALTHY),
        ((ILL, ILL, ILL, WELL, ILL, WELL), Health.UNHEALTHY),
        ((ILL, ILL, ILL, WELL, WELL), Health.HEALTHY),
    ],
)
def test_health_changes_at_the_thresholds(checks: tuple[str | None, ...], health: Health) -> None:
    assert checked(*checks).health is health


def test_an_ill_target_says_why() -> None:
    assert checked(ILL).reason == ILL


async def healthz(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=200 if request.path == "/healthz" else 404)


def group() -> TargetGroup:
    return TargetGroup(SETTINGS, idle_timeout_s=60, changes=Changes())


@asynccontextmanager
async def registered(group: TargetGroup, address: str, port: int) -> AsyncIterator[Target]:
    """A target of `group` whose first check is over."""
    checking = asyncio.create_task(group.keep_checking(address, port))
    try:
        async with asyncio.timeout(10):
            await group.changes.until(
                lambda: (
                    (target := group.target(address)) is not None
                    and (target.health is Health.HEALTHY or bool(target.reason))
                )
            )
        target = group.target(address)
        assert target is not None
        yield target
    finally:
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking


def test_a_target_is_asked_at_the_deployed_path() -> None:
    async def check() -> None:
        targets = group()
        async with serving(healthz) as port:
            async with registered(targets, HOST, port) as target:
                assert target.health is Health.HEALTHY
            assert targets.target(HOST) is None

    asyncio.run(check())


def test_a_wrong_answer_is_told() -> None:
    async def always_404(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)

    async def check() -> None:
        targets = group()
        async with (
            serving(always_404) as port,
            registered(targets, HOST, port) as target,
        ):
            assert target.health is Health.INITIAL
            assert target.reason == "answers 404, expected is 200"

    asyncio.run(check())


def test_healthy_targets_take_turns_and_without_one_all_are_tried() -> None:
    async def check() -> None:
        targets = group()
        async with (
            serving(healthz) as port,
            registered(targets, "127.0.0.1", port) as one,
            registered(targets, "127.0.0.2", port) as unreachable,
        ):
            assert {targets.choose() for _ in range(4)} == {one}
            one.health = Health.UNHEALTHY
            assert {targets.choose() for _ in range(4)} == {one, unreachable}

    asyncio.run(check())


def test_a_leaving_target_gets_no_request_and_goes_when_those_under_way_are_done() -> None:
    async def check() -> None:
        targets = group()
        async with (
            serving(healthz) as port,
            registered(targets, HOST, port) as target,
        ):
            targets.request_begins(target)
            draining = asyncio.create_task(targets.drain(HOST))
            await asyncio.sleep(0)
            assert targets.choose() is None
            assert not draining.done()
            targets.request_ends(target)
            await draining

    asyncio.run(check())


def test_a_request_that_does_not_end_holds_a_leaving_target_up_only_so_long() -> None:
    async def check() -> None:
        targets = group()
        async with (
            serving(healthz) as port,
            registered(targets, HOST, port) as target,
        ):
            targets.request_begins(target)
            await targets.drain(HOST)  # ends, after the deregistration delay
            assert target.in_flight == 1

    asyncio.run(check())


def test_connections_to_a_target_that_left_are_closed() -> None:
    closed = asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.kept = b"/kept" in data

        def connection_lost(self, error: Exception | None) -> None:
            if self.kept:
                closed.set()

    async def check() -> None:
        targets = group()
        server = await asyncio.get_running_loop().create_server(Connection, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        async with server, registered(targets, HOST, port) as target:
            async with target.session.get(f"{target.url}/kept"):
                pass
            assert not closed.is_set()
            await targets.drain(HOST)
            async with asyncio.timeout(10):
                await closed.wait()

    asyncio.run(check())
