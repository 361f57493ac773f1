"""Recognizes a health check in the bytes on a connection, without parsing other requests."""

import re

MAX_BYTES = 4_096
"""A longer request is not a health check of a load balancer or of the container."""

_COMPLETE = re.compile(rb"GET /healthz HTTP/1\.[01]\r\n(?:[!-9;-~]+:[^\r\n\0]*\r\n)*\r\n")
_NEEDS_THE_PARSER = re.compile(
    rb"^(?:content-length|transfer-encoding|expect|upgrade):", re.IGNORECASE | re.MULTILINE
)
_REQUEST_ID = re.compile(rb"^x-request-id:[ \t]*([^\r]*?)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


def is_health_request(data: bytes) -> bool:
    """Whether `data` is exactly one ``GET /healthz`` without a body and with nothing after it."""
    return _COMPLETE.fullmatch(data) is not None and _NEEDS_THE_PARSER.search(data) is None


def sent_request_id(data: bytes) -> str:
    """The client's ``X-Request-Id`` as it stands in a health request, or an empty string."""
    found = _REQUEST_ID.search(data)
    return found[1].decode("latin-1") if found else ""
