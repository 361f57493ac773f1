"""Who calls, and whether the key may do what the route does.

Every route says by `requires` or `public` who may call it; the app does not start with one that
says neither. The key is checked before anything of the body is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, current_app, g, request

from services.api.errors import Forbidden, Unauthorized
from services.api.key_ring import KeyRing
from services.common.api_key import UNKNOWN_KEY, Scope, parse_token

log = structlog.get_logger()

View = TypeVar("View", bound=Callable[..., Any])

ANY_SCOPE = frozenset(Scope)
_MARK = "scopes_of_which_one_is_required"


def requires(scope: Scope, *others: Scope) -> Callable[[View], View]:
    """Mark a view as open to keys that have one of these scopes."""
    return lambda view: _mark(view, frozenset({scope, *others}))


def public(view: View) -> View:
    """Mark a view as open to everyone."""
    return _mark(view, frozenset())


def _mark(view: View, scopes: frozenset[Scope]) -> View:
    setattr(view, _MARK, scopes)
    return view


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: str
    client: str
    scopes: frozenset[Scope]


def current_caller() -> Caller:
    """Who makes this request; only in a view that is not public."""
    return cast("Caller", g.caller)


class Authenticator:
    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def install(self, app: Flask) -> None:
        """Guard every route that `app` has; to be called when all are registered."""
        unmarked = [name for name, view in app.view_functions.items() if not hasattr(view, _MARK)]
        if unmarked:
            raise RuntimeError(f"Nobody says who may call {', '.join(unmarked)}.")
        app.before_request(self._guard)

    def _guard(self) -> None:
        if request.endpoint is None:
            return  # no such route: 404 or 405 follows, the same for everyone
        scopes: frozenset[Scope] = getattr(current_app.view_functions[request.endpoint], _MARK)
        if not scopes:
            return
        caller = self._authenticate(request.headers.get("Authorization", ""))
        structlog.contextvars.bind_contextvars(client=caller.client, key_id=caller.key_id)
        if not scopes & caller.scopes:
            needed = " or ".join(sorted(scopes))
            raise Forbidden(f"The key's scopes do not include {needed}.")
        g.caller = caller

    def _authenticate(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        presented = parse_token(token.strip())
        if scheme.lower() != "bearer" or presented is None:
            raise Unauthorized("Send the header 'Authorization: Bearer <keyId>.<secret>'.")
        key_id, secret = presented
        key = self._keys.find(key_id)
        opened = (key or UNKNOWN_KEY).matches(secret)
        if key is None or not opened:
            # Only the id of a key that exists is logged: anything else may be a misplaced secret.
            log.warning("key refused", key_id=key_id if key else None)
            raise Unauthorized("The API key is unknown, revoked or wrong.")
        return Caller(key_id, key.client, key.scopes)
