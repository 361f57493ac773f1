"""Security headers for every response: browsers must not render, load or cache anything."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADERS = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]
"""Based on the OWASP REST Security Cheat Sheet. A page may set its own policy instead."""


def install(app: Flask) -> None:
    """Wrap the whole WSGI application, so that every response gets the headers."""
    app.wsgi_app = _with_headers(app.wsgi_app)  # type: ignore[method-assign,assignment]


def _with_headers(app: "WSGIApplication") -> "WSGIApplication":
    def wrapped(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            own = {name for name, _ in headers}
            missing = [header for header in HEADERS if header[0] not in own]
            return start_response(status, headers + missing, exc_info)

        return app(environ, start)

    return wrapped
