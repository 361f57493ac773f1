"""The stand-in load balancer, as a client and a target see it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import trustme
from aiohttp import ClientSession, web

from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.balancer.settings import ListenerSettings, LoadBalancerSettings
from rehearsal.balancer.target_group import TargetHealth
from rehearsal.change_notifier import ChangeNotifier
from tests.rehearsal.loopback import HOST, Handler, serving
from tests.rehearsal.target_groups import SETTINGS

FORWARD = ListenerSettings(
    port=0, protocol="HTTP", certificate_arn=None, target_group_arn="group", redirect_to=None
)
REDIRECT = replace(
    FORWARD, target_group_arn=None, redirect_to="https://#{host}:443/#{path}?#{query}"
)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Return the request as JSON."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "body": (await request.read()).decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        },
        headers={"X-Echo": "yes"},
    )


@asynccontextmanager
async def running_balancer(
    listeners: Sequence[ListenerSettings] = (FORWARD,), *, idle_timeout_s: int = 5
) -> AsyncIterator[LoadBalancer]:
    settings = LoadBalancerSettings("lb.example.com", idle_timeout_s, listeners)
    async with LoadBalancer(
        settings, groups=[SETTINGS], address=HOST, certificates={}, changes=ChangeNotifier()
    ) as balancer:
        yield balancer


@asynccontextmanager
async def healthy_target(balancer: LoadBalancer, handle: Handler) -> AsyncIterator[None]:
    group = balancer.group("group")
    async with serving(handle) as port:
        checking = asyncio.create_task(group.keep_checking(HOST, port))
        async with asyncio.timeout(10):
            await group.changes.wait_for(
                lambda: (
                    (target := group.target(HOST)) is not None
                    and target.health is TargetHealth.HEALTHY
                )
            )
        yield
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking


def test_requests_and_responses_are_forwarded() -> None:
    async def check() -> None:
        async with (
            running_balancer() as balancer,
            healthy_target(balancer, echo),
            ClientSession() as client,
        ):
            async with client.post(
                f"{balancer.url}/tasks?limit=2", data="body", headers={"Authorization": "Bearer x"}
            ) as response:
                received = await response.json()
            assert response.headers["X-Echo"] == "yes"
            assert received["method"] == "POST"
            assert received["path"] == "/tasks?limit=2"
            assert received["body"] == "body"
            assert received["headers"]["authorization"] == "Bearer x"
            assert received["headers"]["x-forwarded-for"] == HOST
            assert received["headers"]["x-forwarded-proto"] == "http"

    asyncio.run(check())


def test_without_a_target_it_returns_503() -> None:
    async def check() -> None:
        async with running_balancer() as balancer, ClientSession() as client:
            async with client.get(balancer.url) as response:
                assert response.status == 503
            assert balancer.errors[503] == 1

    asyncio.run(check())


def test_if_the_target_closes_the_connection_it_returns_502() -> None:
    async def close_connection(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/healthz" and request.transport is not None:
            request.transport.close()
        return web.Response()

    async def check() -> None:
        async with (
            running_balancer() as balancer,
            healthy_target(balancer, close_connection),
            ClientSession() as client,
            client.post(f"{balancer.url}/tasks") as response,
        ):
            assert response.status == 502

    asyncio.run(check())


def test_if_the_target_sends_nothing_within_the_idle_timeout_it_returns_504() -> None:
    async def check() -> None:
        answered = asyncio.Event()

        async def wait_before_response(request: web.BaseRequest) -> web.StreamResponse:
            if request.path != "/healthz":
                await answered.wait()
            return web.Response()

        async with (
            running_balancer(idle_timeout_s=1) as balancer,
            healthy_target(balancer, wait_before_response),
            ClientSession() as client,
            client.get(f"{balancer.url}/tasks") as response,
        ):
            answered.set()
            assert response.status == 504

    asyncio.run(check())


def test_a_redirect_listener_redirects() -> None:
    async def check() -> None:
        async with running_balancer([REDIRECT]) as balancer, ClientSession() as client:
            url = balancer.url_of(REDIRECT)
            async with client.get(f"{url}/tasks/1?a=b", allow_redirects=False) as response:
                assert response.status == 301
                assert response.headers["Location"] == f"https://{HOST}:443/tasks/1?a=b"

    asyncio.run(check())


def test_an_https_listener_uses_the_deployed_certificate() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    listener = replace(FORWARD, protocol="HTTPS", certificate_arn="certificate")
    settings = LoadBalancerSettings("lb.example.com", 5, [listener])

    async def check() -> None:
        async with (
            LoadBalancer(
                settings,
                groups=[SETTINGS],
                address=HOST,
                certificates={"certificate": server_context},
                changes=ChangeNotifier(),
            ) as balancer,
            healthy_target(balancer, echo),
            ClientSession() as client,
            client.get(f"{balancer.url}/tasks", ssl=client_context) as response,
        ):
            received = await response.json()
            assert balancer.url.startswith("https://")
            assert received["headers"]["x-forwarded-proto"] == "https"

    asyncio.run(check())


def test_a_listener_moves_to_a_free_port_if_its_own_is_in_use() -> None:
    async def check() -> None:
        async with (
            serving(echo) as used_port,
            running_balancer([replace(FORWARD, port=used_port)]) as balancer,
        ):
            assert balancer.ports[used_port] != used_port
            assert str(balancer.ports[used_port]) in balancer.url

    asyncio.run(check())
