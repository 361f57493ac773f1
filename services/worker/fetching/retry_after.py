"""The ``Retry-After`` header (RFC 9110 §10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 30 * 86_400
"""Longer waits are cut to this, so that a hostile number overflows nothing."""

_DELAY = re.compile(r"[0-9]+", re.ASCII)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds to wait from `now`, or None if the header is missing or malformed."""
    if value is None:
        return None
    if _DELAY.fullmatch(value.strip()):
        digits = value.strip().lstrip("0")[:10]  # int() refuses thousands of digits
        return min(float(digits or 0), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # the two obsolete formats, which are in UTC as well
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), MAX_RETRY_AFTER_S)
