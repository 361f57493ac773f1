"""Reading the ``Retry-After`` header of any server."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.fetching.retry_after import MAX_RETRY_AFTER_S, parse_retry_after

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("000", 0),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90),
        ("Wednesday, 25-Nov-26 12:01:30 GMT", 90),
        ("Wed Nov 25 12:01:30 2026", 90),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0),
        ("Wed, 25 Nov 2099 12:00:00 GMT", MAX_RETRY_AFTER_S),
        ("9" * 5_000, MAX_RETRY_AFTER_S),
    ],
)
def test_a_number_of_seconds_or_a_date_is_read(value: str, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "1e3", "٣", "Wed, 99 Nov 2026"])
def test_anything_else_is_ignored(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


@given(st.text())
def test_any_text_is_read_or_ignored(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S
