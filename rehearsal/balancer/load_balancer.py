"""A stand-in for the load balancer: its listeners, on loopback.

It forwards as the real one does: to one healthy target in turn, over connections that it keeps; it
repeats nothing, and answers 502, 503 or 504 where a target does not.
"""

import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Self

from aiohttp import ClientError, web
from aiohttp.web import BaseRequest, Response, Server, ServerRunner, TCPSite
from multidict import CIMultiDict

from local.ports import bind_error
from rehearsal.balancer.settings import (
    ListenerSettings,
    LoadBalancerSettings,
    TargetGroupSettings,
)
from rehearsal.balancer.target_group import Target, TargetGroup
from rehearsal.changes import Changes
from rehearsal.failure import Failed

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "content-length", "host"}
)
"""Not handed on: RFC 9110, section 7.6.1, and what the other connection says for itself."""


class LoadBalancer:
    """Runs inside an ``async with``.

    `certificates` are by their ARN. A port that this user may not have (80, 443) is replaced by a
    free one, which `ports` tells.
    """

    def __init__(
        self,
        settings: LoadBalancerSettings,
        *,
        groups: Sequence[TargetGroupSettings],
        address: str,
        certificates: Mapping[str, ssl.SSLContext],
        changes: Changes,
    ) -> None:
        self.settings = settings
        self.address = address
        self.ports: dict[int, int] = {}
        """Where each listener's port is really found."""
        self.own_errors: Counter[int] = Counter()
        """Answers that no target gave."""
        self._certificates = certificates
        self._groups = {
            group.arn: TargetGroup(group, idle_timeout_s=settings.idle_timeout_s, changes=changes)
            for group in groups
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for listener in self.settings.listeners:
            await self._listen(listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Of the listener that forwards."""
        for listener in self.settings.listeners:
            if listener.target_group_arn:
                return self.url_of(listener)
        raise Failed("No listener of the load balancer forwards to a target group.")

    def url_of(self, listener: ListenerSettings) -> str:
        return f"{listener.protocol.lower()}://{self.address}:{self.ports[listener.port]}"

    def group(self, arn: str) -> TargetGroup:
        return self._groups[arn]

    async def _listen(self, listener: ListenerSettings) -> None:
        async def handle(request: BaseRequest) -> web.StreamResponse:
            if listener.redirect_to is not None:
                return _redirect(request, listener.redirect_to)
            return await self._forward(request, listener)

        context = None
        if listener.protocol == "HTTPS":
            arn = listener.certificate_arn or ""
            if arn not in self._certificates:
                raise Failed(f"The listener of port {listener.port} has no certificate.")
            context = self._certificates[arn]
        runner = ServerRunner(Server(handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        free = bind_error(listener.port, host=self.address) is None
        site = TCPSite(runner, self.address, listener.port if free else 0, ssl_context=context)
        await site.start()
        self.ports[listener.port] = runner.addresses[-1][1]

    async def _forward(self, request: BaseRequest, listener: ListenerSettings) -> Response:
        group = self._groups[listener.target_group_arn or ""]
        target = group.choose()
        if target is None:
            return self._own(HTTPStatus.SERVICE_UNAVAILABLE)
        group.request_begins(target)
        try:
            return await self._ask(request, target, listener)
        except TimeoutError:
            return self._own(HTTPStatus.GATEWAY_TIMEOUT)
        except ClientError:
            return self._own(HTTPStatus.BAD_GATEWAY)
        finally:
            group.request_ends(target)

    async def _ask(
        self, request: BaseRequest, target: Target, listener: ListenerSettings
    ) -> Response:
        headers = _handed_on(request.headers)
        headers["Host"] = request.headers.get("Host", self.settings.dns_name)
        headers["X-Forwarded-For"] = request.remote or self.address
        headers["X-Forwarded-Proto"] = listener.protocol.lower()
        headers["X-Forwarded-Port"] = str(listener.port)
        async with target.session.request(
            request.method,
            target.url + request.path_qs,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            return Response(
                status=answer.status, headers=_handed_on(answer.headers), body=await answer.read()
            )

    def _own(self, status: HTTPStatus) -> Response:
        self.own_errors[status] += 1
        return Response(status=status, text=f"{status.value} {status.phrase}\n")


def _redirect(request: BaseRequest, template: str) -> Response:
    host, _, port = request.host.partition(":")
    location = template
    for name, value in {
        "#{protocol}": request.scheme,
        "#{host}": host,
        "#{port}": port,
        "#{path}": request.path.lstrip("/"),
        "#{query}": request.query_string,
    }.items():
        location = location.replace(name, value)
    return Response(
        status=HTTPStatus.MOVED_PERMANENTLY, headers={"Location": location.removesuffix("?")}
    )


def _handed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP
    )
