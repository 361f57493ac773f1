"""The stand-in load balancer, as a client and as a target see it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import trustme
from aiohttp import ClientSession, web

from rehearsal.balancer.load_balancer import LoadBalancer
from rehearsal.balancer.settings import ListenerSettings, LoadBalancerSettings
from rehearsal.balancer.target_group import Health
from rehearsal.changes import Changes
from tests.rehearsal.loopback import HOST, Handler, serving
from tests.rehearsal.test_target_group import SETTINGS

FORWARD = ListenerSettings(
    port=0, protocol="HTTP", certificate_arn=None, target_group_arn="group", redirect_to=None
)
REDIRECT = replace(
    FORWARD, target_group_arn=None, redirect_to="https://#{host}:443/#{path}?#{query}"
)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Says what has arrived; not the health checks."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "body": (await request.read()).decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        },
        headers={"X-Answered": "yes"},
    )


@asynccontextmanager
async def balancing(
    listeners: Sequence[ListenerSettings] = (FORWARD,), *, idle_timeout_s: int = 5
) -> AsyncIterator[LoadBalancer]:
    settings = LoadBalancerSettings("lb.example.com", idle_timeout_s, listeners)
    async with LoadBalancer(
        settings, groups=[SETTINGS], address=HOST, certificates={}, changes=Changes()
    ) as balancer:
        yield balancer


@asynccontextmanager
async def target_of(balancer: LoadBalancer, handle: Handler) -> AsyncIterator[None]:
    group = balancer.group("group")
    async with serving(handle) as port:
        checking = asyncio.create_task(group.keep_checking(HOST, port))
        async with asyncio.timeout(10):
            await group.changes.until(
                lambda: (
                    (target := group.target(HOST)) is not None and target.health is Health.HEALTHY
                )
            )
        yield
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking


def test_a_request_and_its_answer_are_handed_on() -> None:
    async def check() -> None:
        async with balancing() as balancer, target_of(balancer, echo), ClientSession() as client:
            async with client.post(
                f"{balancer.url}/tasks?limit=2", data="body", headers={"Authorization": "Bearer x"}
            ) as answer:
                seen = await answer.json()
            assert answer.headers["X-Answered"] == "yes"
            assert (seen["method"], seen["path"], seen["body"]) == (
                "POST",
                "/tasks?limit=2",
                "body",
            )
            assert seen["headers"]["authorization"] == "Bearer x"
            assert seen["headers"]["x-forwarded-for"] == HOST
            assert seen["headers"]["x-forwarded-proto"] == "http"

    asyncio.run(check())


def test_without_a_target_it_answers_503() -> None:
    async def check() -> None:
        async with balancing() as balancer, ClientSession() as client:
            async with client.get(balancer.url) as answer:
                assert answer.status == 503
            assert balancer.own_errors[503] == 1

    asyncio.run(check())


def test_a_target_that_breaks_off_makes_502() -> None:
    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/healthz" and request.transport is not None:
            request.transport.close()
        return web.Response()

    async def check() -> None:
        async with (
            balancing() as balancer,
            target_of(balancer, broken),
            ClientSession() as client,
            client.post(f"{balancer.url}/tasks") as answer,
        ):
            assert answer.status == 502

    asyncio.run(check())


def test_a_target_that_says_nothing_for_the_idle_timeout_makes_504() -> None:
    async def check() -> None:
        answered = asyncio.Event()

        async def silent(request: web.BaseRequest) -> web.StreamResponse:
            if request.path != "/healthz":
                await answered.wait()
            return web.Response()

        async with (
            balancing(idle_timeout_s=1) as balancer,
            target_of(balancer, silent),
            ClientSession() as client,
            client.get(f"{balancer.url}/tasks") as answer,
        ):
            answered.set()
            assert answer.status == 504

    asyncio.run(check())


def test_a_listener_may_redirect() -> None:
    async def check() -> None:
        async with balancing([REDIRECT]) as balancer, ClientSession() as client:
            url = balancer.url_of(REDIRECT)
            async with client.get(f"{url}/tasks/1?a=b", allow_redirects=False) as answer:
                assert answer.status == 301
                assert answer.headers["Location"] == f"https://{HOST}:443/tasks/1?a=b"

    asyncio.run(check())


def test_https_is_spoken_with_the_deployed_certificate() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    listener = replace(FORWARD, protocol="HTTPS", certificate_arn="certificate")
    settings = LoadBalancerSettings("lb.example.com", 5, [listener])

    async def check() -> None:
        async with (
            LoadBalancer(
                settings,
                groups=[SETTINGS],
                address=HOST,
                certificates={"certificate": context},
                changes=Changes(),
            ) as balancer,
            target_of(balancer, echo),
            ClientSession() as client,
            client.get(f"{balancer.url}/tasks", ssl=trusting) as answer,
        ):
            seen = await answer.json()
            assert balancer.url.startswith("https://")
            assert seen["headers"]["x-forwarded-proto"] == "https"

    asyncio.run(check())


def test_a_port_that_is_taken_is_replaced_and_told() -> None:
    async def check() -> None:
        async with serving(echo) as taken, balancing([replace(FORWARD, port=taken)]) as balancer:
            assert balancer.ports[taken] != taken
            assert str(balancer.ports[taken]) in balancer.url

    asyncio.run(check())
