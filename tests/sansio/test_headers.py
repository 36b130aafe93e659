"""`Retry-After` and `Content-Range` are parsed, whatever a peer sends."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from akapulu_async.sansio.headers import MAX_RETRY_AFTER, parse_content_range, parse_retry_after

NOW = datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("+5", None), ("1e3", None), ("0x10", None),
        ("5 s", None), (".5", None), ("\u0665", None), ("²", None), ("nan", None), ("inf", None), ("5, 6", None),
        ("0", 0.0), ("7", 7.0), (" 7\t", 7.0), ("007", 7.0), ("1.5", 1.5), ("2.", 2.0),
        ("9" * 30, MAX_RETRY_AFTER), ("9" * 100_000, MAX_RETRY_AFTER), ("1000000001", MAX_RETRY_AFTER),
        ("Tue, 10 Mar 2026 18:10:32 GMT", 30.0),
        ("Tue, 10 Mar 2026 18:10:32 -0000", 30.0),
        ("Tue, 10 Mar 2026 20:10:32 +0200", 30.0),
        ("Tuesday, 10-Mar-26 18:10:32 GMT", 30.0),
        ("Tue Mar 10 18:10:32 2026", 30.0),
        ("Tue, 10 Mar 2026 18:09:32 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Tue, 32 Mar 2026 18:10:32 GMT", None),
        ("Tue, 10 Mar 99999 18:10:32 GMT", None),
        (f"Tue, 10 Mar {'9' * 5000} 18:10:32 GMT", None),
        ("Tue, 10 Mar 2026 18:10:32 +9999999999", None),
    ],
    ids=count(),
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are read; the past is 0, the maximum is 30 years, and anything else is None."""
    assert parse_retry_after(value, None, lambda: NOW) == seconds


@given(st.integers(0, 10**9), st.sampled_from(["GMT", "+0000"]))
def test_dates_count_from_now(seconds: int, zone: str) -> None:
    """A date becomes the seconds until then."""
    text = format_datetime(NOW + timedelta(seconds=seconds)).replace("+0000", zone)
    assert parse_retry_after(text, None, lambda: NOW) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Tue, 10 Mar 2026 18:20:02 GMT", 30.0),  # the service's clock is ten minutes ahead
        ("Tue, 10 Mar 2026 18:20:02 -0000", 30.0),
        ("Tue, 10 Mar 2026 18:21:02 GMT", 0.0),
        (None, 630.0), ("", 630.0), ("soon", 630.0), ("Tue, 32 Mar 2026 18:20:02 GMT", 630.0),
    ],
    ids=count(),
)  # fmt: skip
def test_a_date_counts_from_the_answers_own(date: str | None, seconds: float) -> None:
    """A date counts from the answer's `Date`; this machine's clock counts only if there is none to be read."""
    assert parse_retry_after("Tue, 10 Mar 2026 18:20:32 GMT", date, lambda: NOW) == seconds
    assert parse_retry_after("7", date, lambda: NOW) == 7.0, "seconds are seconds"


@given(st.text(st.characters(), max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w*"))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_any_retry_after(value: str) -> None:
    """Any text becomes a valid number of seconds or None, and so does a date that counts from any text."""
    in_an_hour = format_datetime(NOW + timedelta(hours=1))
    for seconds in (parse_retry_after(value, None, lambda: NOW), parse_retry_after(in_an_hour, value, lambda: NOW)):
        assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None), ("", None), ("bytes 0-9", None), ("bytes */10", None), ("items 0-9/10", None),
        ("bytes -5-9/10", None), ("bytes 0-9/ten", None), ("bytes 0-9/10, 20-29/10", None), ("0-9/10", None),
        ("bytes 5-4/10", None), ("bytes 0-10/10", None), ("bytes 10-19/10", None), ("bytes 0-9/10\n", None),
        (f"bytes 0-{'9' * 5000}/*", None), ("bytes \u0660-9/10", None),
        ("bytes 0-9/10", (0, 10)),
        ("Bytes 9-9/10", (9, 10)),
        ("bytes 500-999/*", (500, None)),
    ],
    ids=count(),
)  # fmt: skip
def test_content_range(value: str | None, found: tuple[int, int | None] | None) -> None:
    """A range within its whole is read; one that contradicts itself is None."""
    assert parse_content_range(value) == found


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_any_sensible_content_range(first: int, more: int, after: int) -> None:
    """First byte and size are read as written."""
    size = first + more + after + 1
    assert parse_content_range(f"bytes {first}-{first + more}/{size}") == (first, size)
