"""The gate before the emulated AWS: lets each role do what its policies allow, and writes it down.

A key that was not handed out to a role is the operator's, who may do everything.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rehearsal.aws.policies import Policy
from rehearsal.aws.request_body import read_body
from rehearsal.aws.required_permissions import Request, RequiredPermission, Signature

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Gate:
    """WSGI middleware. Thread-safe."""

    def __init__(self, app: "WSGIApplication", *, account: str) -> None:
        self._app = app
        self._account = account
        self._lock = threading.Lock()
        self._roles: dict[str, str] = {}
        self._policies: Mapping[str, Policy] = {}
        self._down: set[tuple[str, str]] = set()
        self._allowed: dict[str, Counter[RequiredPermission]] = {}
        self._denied: dict[str, Counter[RequiredPermission]] = {}

    def judge(self, policies: Mapping[str, Policy]) -> None:
        """Judge calls by these policies, by role, from now on. A role without one may nothing."""
        self._policies = policies

    def hand_out(self, access_key_id: str, *, role: str) -> None:
        with self._lock:
            self._roles[access_key_id] = role

    @contextmanager
    def outage(self, *, role: str, action: str) -> Iterator[None]:
        """Within this, AWS does not serve `action` for `role`."""
        self._down.add((role, action))
        try:
            yield
        finally:
            self._down.discard((role, action))

    def allowed(self, role: str) -> Counter[RequiredPermission]:
        """How often the role did what, so far."""
        with self._lock:
            return Counter(self._allowed.get(role))

    def denied(self, role: str) -> Counter[RequiredPermission]:
        """How often the role was refused what, so far."""
        with self._lock:
            return Counter(self._denied.get(role))

    def has_done(self, role: str, action: str) -> bool:
        return any(call.action == action for call in self.allowed(role))

    def permits(self, role: str, call: RequiredPermission) -> bool:
        """Judge a call, and write it down."""
        policy = self._policies.get(role)
        permitted = policy is not None and policy.allows(call)
        book = self._allowed if permitted else self._denied
        with self._lock:
            book.setdefault(role, Counter())[call] += 1
        return permitted

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        request = _read(environ)
        signature = request.signature()
        role = self._roles.get(signature.access_key_id) if signature else None
        if signature is None or role is None:
            return self._app(environ, start_response)
        call = request.call(signature, account=self._account)
        if (role, call.action) in self._down:
            return _refuse(
                start_response,
                signature,
                "503 Service Unavailable",
                "ServiceUnavailable",
                "down",
            )
        if self.permits(role, call):
            return self._app(environ, start_response)
        return _refuse(
            start_response, signature, "403 Forbidden", "AccessDenied", f"{role} may not {call}"
        )


def _read(environ: "WSGIEnvironment") -> Request:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        query=environ["QUERY_STRING"],
        headers=headers,
        body=read_body(environ),
    )


def _refuse(
    start_response: "StartResponse", signature: Signature, status: str, code: str, message: str
) -> Iterable[bytes]:
    """In the form in which the service's clients read errors."""
    if signature.service in {"s3", "sts", "iam"}:
        error = f"<Code>{code}</Code><Message>{message}</Message>"
        root = f"<Error>{error}</Error>"
        body = root if signature.service == "s3" else f"<ErrorResponse>{root}</ErrorResponse>"
        content_type = "application/xml"
    else:
        fields: dict[str, Any] = {"__type": f"{code}Exception", "message": message}
        body, content_type = json.dumps(fields), "application/x-amz-json-1.0"
    start_response(status, [("Content-Type", content_type)])
    return [body.encode()]
