"""The OpenAPI document, generated from the models, and a page that shows it.

The page has no scripts and loads nothing. Its content security policy allows only its own style.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, render_template
from markupsafe import Markup

from services.api.auth import public

STYLE_SHEET = Path(__file__).parent.parent / "templates" / "docs.css"
LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default")
"""JSON Schema keywords that the page shows next to a type."""


def documentation_routes(document: Callable[[], dict[str, Any]]) -> Blueprint:
    """`document` is called once, after all routes have been registered."""
    routes = Blueprint("documentation", __name__)
    style = Markup(STYLE_SHEET.read_text())  # noqa: S704 - our own file

    @cache
    def text() -> str:
        return json.dumps(document())

    @cache
    def page() -> tuple[str, str]:
        html = render_template("docs.html", document=document(), style=style, limits=LIMITS)
        return html, _policy(style)

    @routes.get("/openapi.json")
    @public
    def openapi() -> Response:
        return Response(text(), content_type="application/json")

    @routes.get("/docs")
    @public
    def docs() -> Response:
        html, policy = page()
        return Response(
            html,
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": policy},
        )

    return routes


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
