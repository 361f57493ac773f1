"""Authentication by API key, and authorization by scope.

Every view is marked with `requires` or `public`. The app does not start if a view has neither mark.
The key is checked before the body is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, current_app, g, request

from services.api.http_errors import Forbidden, Unauthorized
from services.api.key_ring import KeyRing
from services.common.api_key import UNKNOWN_KEY, Scope, parse_token

log = structlog.get_logger()

View = TypeVar("View", bound=Callable[..., Any])

ANY_SCOPE = frozenset(Scope)
_SCOPES_ATTRIBUTE = "required_scopes"


def requires(scope: Scope, *others: Scope) -> Callable[[View], View]:
    """Mark a view as open to keys with at least one of these scopes."""
    return lambda view: _mark(view, frozenset({scope, *others}))


def public(view: View) -> View:
    """Mark a view as open to everyone."""
    return _mark(view, frozenset())


def _mark(view: View, scopes: frozenset[Scope]) -> View:
    setattr(view, _SCOPES_ATTRIBUTE, scopes)
    return view


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: str
    client: str
    scopes: frozenset[Scope]


def current_caller() -> Caller:
    """The caller of this request. Not available in a public view."""
    return cast("Caller", g.caller)


class Authenticator:
    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def install(self, app: Flask) -> None:
        """Check the key on every route of `app`. Call this when all routes are registered."""
        unmarked = [
            name
            for name, view in app.view_functions.items()
            if not hasattr(view, _SCOPES_ATTRIBUTE)
        ]
        if unmarked:
            raise RuntimeError(f"{', '.join(unmarked)} needs @requires or @public.")
        app.before_request(self._check)

    def _check(self) -> None:
        if request.endpoint is None:
            return  # no such route: everyone gets the same 404 or 405
        scopes: frozenset[Scope] = getattr(
            current_app.view_functions[request.endpoint], _SCOPES_ATTRIBUTE
        )
        if not scopes:
            return
        caller = self._authenticate(request.headers.get("Authorization", ""))
        structlog.contextvars.bind_contextvars(client=caller.client, key_id=caller.key_id)
        if not scopes & caller.scopes:
            required = " or ".join(sorted(scopes))
            raise Forbidden(f"The key does not have the scope {required}.")
        g.caller = caller

    def _authenticate(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        key_id_and_secret = parse_token(token.strip())
        if scheme.lower() != "bearer" or key_id_and_secret is None:
            raise Unauthorized("Send the header 'Authorization: Bearer <keyId>.<secret>'.")
        key_id, secret = key_id_and_secret
        key = self._keys.find(key_id)
        matches = (key or UNKNOWN_KEY).matches(secret)
        if key is None or not matches:
            # Only existing ids are logged, because any other text may be a misplaced secret.
            log.warning("key rejected", key_id=key_id if key else None)
            raise Unauthorized("The API key is unknown, revoked or wrong.")
        return Caller(key_id, key.client, key.scopes)
