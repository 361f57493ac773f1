"""The error responses of the document, by status: what clients of every language generate from."""

from typing import Any

from services.api import problems

DESCRIPTIONS = {
    400: "The body or a header is not valid; `errors` names each field",
    401: "No API key, or one that is unknown, revoked or wrong",
    403: "The key's scopes do not include this",
    404: "There is no such task, or it is another client's",
    409: "The task's status, `taskStatus`, does not allow it",
    410: "The result was kept for its time and is gone",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "The Idempotency-Key belongs to another submission",
    429: "Too many submissions in this minute; `Retry-After` says when to go on",
    500: "A fault of the service; `requestId` finds it in the logs",
    503: "What the service depends on does not answer; `failing` names it",
}

EVERYWHERE = (500,)
AUTHENTICATED = (401, 403, 503)


def errors(*statuses: int) -> dict[str | int, Any]:
    """The problem responses of a route, in the form that flask-openapi3 takes."""
    schema = {"$ref": f"#/components/schemas/{problems.Problem.__name__}"}
    return {
        str(status): {
            "description": DESCRIPTIONS[status],
            "content": {problems.MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted({*statuses, *EVERYWHERE})
    }
