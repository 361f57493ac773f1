"""The error responses in the OpenAPI document, by status."""

from typing import Any

from services.api import error_responses

DESCRIPTIONS = {
    400: "The body or a header is invalid; `errors` names each field",
    401: "The API key is missing, unknown, revoked or wrong",
    403: "The key does not have the required scope",
    404: "There is no such task, or it belongs to another client",
    409: "The status of the task, `taskStatus`, does not allow this",
    410: "The result has expired",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "The Idempotency-Key belongs to another submission",
    429: "Too many submissions in this minute; `Retry-After` says when to retry",
    500: "Internal error; `requestId` identifies it in the logs",
    503: "A dependency does not respond, then `failing` names it, or the server is overloaded; "
    "`Retry-After` says when to retry",
}

EVERYWHERE = (500,)
AUTHENTICATED = (401, 403, 503)


def errors(*statuses: int) -> dict[str | int, Any]:
    """The error responses of a route, in the format of flask-openapi3."""
    schema = {"$ref": f"#/components/schemas/{error_responses.Problem.__name__}"}
    return {
        str(status): {
            "description": DESCRIPTIONS[status],
            "content": {error_responses.MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted({*statuses, *EVERYWHERE})
    }
