"""The clock of the services."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, aware, in UTC, in whole milliseconds: the precision of a row."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
