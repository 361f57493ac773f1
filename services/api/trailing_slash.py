"""Redirects a path with a slash too many, such as ``/tasks/``, to the route that it means."""

from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException


def install(app: Flask) -> None:
    app.before_request(partial(_redirect, app))


def _redirect(app: Flask) -> Response | None:
    """The redirect keeps the method and the body, and names no host, which a client could forge."""
    path = request.path.removesuffix("/")
    if path == request.path or not _is_route(app, path):
        return None
    query = request.query_string.decode("latin-1")
    location = quote(path) + (f"?{query}" if query else "")
    return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": location})


def _is_route(app: Flask, path: str) -> bool:
    try:
        app.url_map.bind("").match(path, method=request.method)
    except HTTPException:
        return False
    return True
