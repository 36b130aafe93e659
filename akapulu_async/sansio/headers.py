"""Headers of answers that bear more than text: `Retry-After` and `Content-Range`."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import attrs

MAX_RETRY_AFTER = 10.0**9
"""Seconds (30 years): what longer `Retry-After` texts are read as, so that no digits overflow."""


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return how many seconds a `Retry-After` asks to wait, never negative.

    Both of its forms are read, seconds and an HTTP date. None if there is none or it is neither.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value, re.ASCII):
        return min(float(value[:400]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000", which HTTP dates do not use: they are always GMT
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), MAX_RETRY_AFTER)


@attrs.frozen
class ContentRange:
    """Which bytes a partial answer bears."""

    first: int
    size: int | None
    """The length of the whole; None if the answer does not say."""


_CONTENT_RANGE = r"(?ai)bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)"


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read a `Content-Range`. None if there is none, or none that makes sense."""
    match = re.fullmatch(_CONTENT_RANGE, value or "")
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    size = None if match[3] == "*" else int(match[3])
    if last < first or (size is not None and last >= size):
        return None
    return ContentRange(first, size)
