"""Target groups: health by the deployed thresholds, round robin, and draining."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from rehearsal.balancer.target_group import HealthState, Target, TargetGroup, TargetHealth
from rehearsal.change_notifier import ChangeNotifier
from tests.rehearsal.loopback import HOST, serving
from tests.rehearsal.target_groups import SETTINGS

SUCCESS, FAILURE = None, "returned 500"
TIMEOUT_S = 10


def state_after(*checks: str | None) -> HealthState:
    state = HealthState()
    for failure in checks:
        state.record_check(failure, SETTINGS)
    return state


@pytest.mark.parametrize(
    ("checks", "health"),
    [
        ((), TargetHealth.INITIAL),
        ((SUCCESS,), TargetHealth.HEALTHY),
        ((FAILURE, FAILURE), TargetHealth.INITIAL),
        ((FAILURE, FAILURE, SUCCESS), TargetHealth.HEALTHY),
        ((FAILURE, FAILURE, FAILURE), TargetHealth.UNHEALTHY),
        ((SUCCESS, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE), TargetHealth.HEALTHY),
        ((SUCCESS, FAILURE, FAILURE, FAILURE), TargetHealth.UNHEALTHY),
        ((FAILURE, FAILURE, FAILURE, SUCCESS), TargetHealth.UNHEALTHY),
        ((FAILURE, FAILURE, FAILURE, SUCCESS, FAILURE, SUCCESS), TargetHealth.UNHEALTHY),
        ((FAILURE, FAILURE, FAILURE, SUCCESS, SUCCESS), TargetHealth.HEALTHY),
    ],
)
def test_health_changes_at_the_thresholds(
    checks: tuple[str | None, ...], health: TargetHealth
) -> None:
    assert state_after(*checks).health is health


def test_a_failed_check_is_the_reason() -> None:
    assert state_after(FAILURE).reason == FAILURE


async def healthz(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=200 if request.path == "/healthz" else 404)


def new_group() -> TargetGroup:
    return TargetGroup(SETTINGS, idle_timeout_s=60, changes=ChangeNotifier())


@asynccontextmanager
async def registered(group: TargetGroup, address: str, port: int) -> AsyncIterator[Target]:
    """A target of `group` after its first health check."""
    checking = asyncio.create_task(group.keep_checking(address, port))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await group.changes.wait_for(
                lambda: (
                    (target := group.target(address)) is not None
                    and (target.health is TargetHealth.HEALTHY or bool(target.reason))
                )
            )
        target = group.target(address)
        assert target is not None
        yield target
    finally:
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking


def test_targets_are_checked_at_the_deployed_path() -> None:
    async def check() -> None:
        group = new_group()
        async with serving(healthz) as port:
            async with registered(group, HOST, port) as target:
                assert target.health is TargetHealth.HEALTHY
            assert group.target(HOST) is None

    asyncio.run(check())


def test_a_wrong_status_is_a_failed_check() -> None:
    async def always_404(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)

    async def check() -> None:
        async with (
            serving(always_404) as port,
            registered(new_group(), HOST, port) as target,
        ):
            assert target.health is TargetHealth.INITIAL
            assert target.reason == "returned 404, not 200"

    asyncio.run(check())


def test_requests_go_to_healthy_targets_or_to_all_if_none_is_healthy() -> None:
    async def check() -> None:
        group = new_group()
        async with (
            serving(healthz) as port,
            registered(group, "127.0.0.1", port) as reachable,
            registered(group, "127.0.0.2", port) as unreachable,
        ):
            assert {group.next_target() for _ in range(4)} == {reachable}
            reachable.health = TargetHealth.UNHEALTHY
            assert {group.next_target() for _ in range(4)} == {reachable, unreachable}

    asyncio.run(check())


def test_a_draining_target_finishes_its_requests_and_gets_no_more() -> None:
    async def check() -> None:
        group = new_group()
        async with (
            serving(healthz) as port,
            registered(group, HOST, port) as target,
        ):
            group.start_request(target)
            draining = asyncio.create_task(group.drain(HOST))
            await asyncio.sleep(0)
            assert group.next_target() is None
            assert not draining.done()
            group.end_request(target)
            await draining

    asyncio.run(check())


def test_draining_ends_after_the_deregistration_delay() -> None:
    async def check() -> None:
        group = new_group()
        async with (
            serving(healthz) as port,
            registered(group, HOST, port) as target,
        ):
            group.start_request(target)
            await group.drain(HOST)
            assert target.in_flight == 1

    asyncio.run(check())


def test_draining_closes_the_connections_to_the_target() -> None:
    closed = asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.is_kept_alive = b"/kept" in data

        def connection_lost(self, error: Exception | None) -> None:
            if self.is_kept_alive:
                closed.set()

    async def check() -> None:
        group = new_group()
        server = await asyncio.get_running_loop().create_server(Connection, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        async with server, registered(group, HOST, port) as target:
            async with target.session.get(f"{target.url}/kept"):
                pass
            assert not closed.is_set()
            await group.drain(HOST)
            async with asyncio.timeout(TIMEOUT_S):
                await closed.wait()

    asyncio.run(check())
