"""The OpenAPI document, generated from the models that validate."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Blueprint, Response

from services.api.auth import public


def documentation_routes(document: Callable[[], dict[str, Any]]) -> Blueprint:
    routes = Blueprint("documentation", __name__)

    @cache
    def text() -> str:
        return json.dumps(document())

    @routes.get("/openapi.json")
    @public
    def openapi() -> Response:
        return Response(text(), content_type="application/json")

    return routes
