"""The clock that the services hand to whatever needs one."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, aware, UTC, in whole milliseconds: as precise as a row keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
