"""Authorizes the calls of each role by its deployed policies, in front of the emulated AWS.

It also counts the calls. An access key that belongs to no role is the operator's, who may do
everything.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rehearsal.aws.policies import Policy
from rehearsal.aws.request_body import read_body
from rehearsal.aws.required_permissions import AwsRequest, RequiredPermission, Signature

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Authorizer:
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

    def enforce(self, policies: Mapping[str, Policy]) -> None:
        """Apply these policies, by role name, from now on.

        A role without a policy may do nothing.
        """
        self._policies = policies

    def register_access_key(self, access_key_id: str, *, role: str) -> None:
        with self._lock:
            self._roles[access_key_id] = role

    @contextmanager
    def outage(self, *, role: str, action: str) -> Iterator[None]:
        """Answer this action with 503 for this role inside the context."""
        self._down.add((role, action))
        try:
            yield
        finally:
            self._down.discard((role, action))

    def allowed(self, role: str) -> Counter[RequiredPermission]:
        """The number of allowed calls so far, by permission."""
        with self._lock:
            return Counter(self._allowed.get(role))

    def denied(self, role: str) -> Counter[RequiredPermission]:
        """The number of denied calls so far, by permission."""
        with self._lock:
            return Counter(self._denied.get(role))

    def has_used(self, role: str, action: str) -> bool:
        return any(permission.action == action for permission in self.allowed(role))

    def authorize(self, role: str, permission: RequiredPermission) -> bool:
        """Whether the role's policy allows the call. Counts it either way."""
        policy = self._policies.get(role)
        is_allowed = policy is not None and policy.allows(permission)
        counters = self._allowed if is_allowed else self._denied
        with self._lock:
            counters.setdefault(role, Counter())[permission] += 1
        return is_allowed

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        request = _read_request(environ)
        signature = request.signature()
        role = self._roles.get(signature.access_key_id) if signature else None
        if signature is None or role is None:
            return self._app(environ, start_response)
        permission = request.required_permission(signature, account=self._account)
        if (role, permission.action) in self._down:
            return _error(
                start_response,
                signature,
                "503 Service Unavailable",
                "ServiceUnavailable",
                "The service is down.",
            )
        if self.authorize(role, permission):
            return self._app(environ, start_response)
        return _error(
            start_response,
            signature,
            "403 Forbidden",
            "AccessDenied",
            f"{role} is not authorized to perform {permission}",
        )


def _read_request(environ: "WSGIEnvironment") -> AwsRequest:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return AwsRequest(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        query=environ["QUERY_STRING"],
        headers=headers,
        body=read_body(environ),
    )


def _error(
    start_response: "StartResponse", signature: Signature, status: str, code: str, message: str
) -> Iterable[bytes]:
    """An error response in the protocol of the service."""
    if signature.service in {"s3", "sts", "iam"}:
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = error if signature.service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        content_type = "application/xml"
    else:
        fields: dict[str, Any] = {"__type": f"{code}Exception", "message": message}
        body, content_type = json.dumps(fields), "application/x-amz-json-1.0"
    start_response(status, [("Content-Type", content_type)])
    return [body.encode()]
