"""Parse the headers `Retry-After` and `Content-Range` of answers."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 10.0**9
"""Seconds (30 years): the upper limit of a `Retry-After`, so that no number overflows."""


def parse_retry_after(value: str | None, date: str | None, now: Callable[[], datetime]) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait, never negative.

    Reads both forms, seconds and an HTTP date. None if the header is missing or neither.

    Args:
        value: The header.
        date: The answer's `Date`, from which a date is counted: the sender's clock may differ from this machine's.
        now: Returns the time, aware; used if there is no such `Date`, or none that can be read.
    """
    value = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value, re.ASCII):
        return min(float(value[:400]), MAX_RETRY_AFTER)
    moment = _parse_date(value)
    if moment is None:
        return None
    return min(max(0.0, (moment - (_parse_date(date or "") or now())).total_seconds()), MAX_RETRY_AFTER)


def _parse_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # "-0000" gives no time zone: HTTP dates are always GMT.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


_CONTENT_RANGE = r"(?ai)bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)"


def parse_content_range(value: str | None) -> tuple[int, int | None] | None:
    """Return the offset of the first byte and the length of the whole, None if unknown, of a `Content-Range`.

    None if the header is missing or contradicts itself.
    """
    match = re.fullmatch(_CONTENT_RANGE, value or "")
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    size = None if match[3] == "*" else int(match[3])
    if last < first or (size is not None and last >= size):
        return None
    return first, size
