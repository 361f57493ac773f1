"""The OpenAPI document, generated from the models that validate, and a page that shows it.

The page has no script and loads nothing, so its policy allows one thing: its own style.
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
"""The keywords of JSON Schema that the page shows beside a type."""


def documentation_routes(document: Callable[[], dict[str, Any]]) -> Blueprint:
    """`document` is asked once, when all routes are registered."""
    routes = Blueprint("documentation", __name__)
    style = Markup(STYLE_SHEET.read_text())  # noqa: S704 - a file of ours

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
