"""Every route, read from the application itself so that none is missed."""

from flask import Flask

Route = tuple[str, str]
"""Method and path, with ``{}`` for the task id."""

PUBLIC: set[Route] = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}


def routes_of(app: Flask) -> list[Route]:
    return [
        (method, rule.rule.replace("<taskId>", "{}"))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
