"""A stand-in for the Application Load Balancer, with its listeners on loopback.

It forwards each request to one target over a persistent connection and retries nothing. If a target
does not answer, it returns 502, 503 or 504, as "Troubleshoot your Application Load Balancers",
Elastic Load Balancing User Guide, describes.
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
from rehearsal.change_notifier import ChangeNotifier
from rehearsal.failure import RehearsalFailed

_HOP_BY_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "content-length", "host"}
)
"""Headers that are not forwarded: those of RFC 9110, section 7.6.1, and those set again here."""


class LoadBalancer:
    """Runs inside an ``async with``.

    `certificates` are TLS contexts by certificate ARN. A listener whose port is in use, or needs
    more privileges (80, 443), gets a free port instead.
    """

    def __init__(
        self,
        settings: LoadBalancerSettings,
        *,
        groups: Sequence[TargetGroupSettings],
        address: str,
        certificates: Mapping[str, ssl.SSLContext],
        changes: ChangeNotifier,
    ) -> None:
        self.settings = settings
        self.address = address
        self.ports: dict[int, int] = {}
        """The actual port of each listener, by its configured port."""
        self.errors: Counter[int] = Counter()
        """Error responses of the load balancer itself, by status."""
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
        """The URL of the listener that forwards to a target group."""
        for listener in self.settings.listeners:
            if listener.target_group_arn:
                return self.url_of(listener)
        raise RehearsalFailed("No listener of the load balancer forwards to a target group.")

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
                raise RehearsalFailed(f"The listener on port {listener.port} has no certificate.")
            context = self._certificates[arn]
        runner = ServerRunner(Server(handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        is_free = bind_error(listener.port, host=self.address) is None
        port = listener.port if is_free else 0
        await TCPSite(runner, self.address, port, ssl_context=context).start()
        self.ports[listener.port] = runner.addresses[-1][1]

    async def _forward(self, request: BaseRequest, listener: ListenerSettings) -> Response:
        group = self._groups[listener.target_group_arn or ""]
        target = group.next_target()
        if target is None:
            return self._error(HTTPStatus.SERVICE_UNAVAILABLE)
        group.start_request(target)
        try:
            return await self._send(request, target, listener)
        except TimeoutError:
            return self._error(HTTPStatus.GATEWAY_TIMEOUT)
        except ClientError:
            return self._error(HTTPStatus.BAD_GATEWAY)
        finally:
            group.end_request(target)

    async def _send(
        self, request: BaseRequest, target: Target, listener: ListenerSettings
    ) -> Response:
        headers = _end_to_end(request.headers)
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
        ) as response:
            return Response(
                status=response.status,
                headers=_end_to_end(response.headers),
                body=await response.read(),
            )

    def _error(self, status: HTTPStatus) -> Response:
        self.errors[status] += 1
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


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP_HEADERS
    )
