"""What a cell of the matrix promises, and in which words."""

import enum

import attrs

from akapulu_async import SessionEndedError, Timeouts, TransportError

OPERATIONS = ("connect", "updates", "detail", "recording", "download_recording", "session")
"""The columns."""

ANSWER = "answer"
TRIES = 3
"""How often each request is tried, and each session's poll may fail in a row before the session ends."""

SLACK = 4.0
"""Seconds that a busy machine may take for what takes none."""

_AMPLE, _TOTAL, _CONNECT = 10.0, 0.5, 0.1
_SLOW = 0.02  # what a slow link takes for the least


class When(enum.Enum):
    """How long a call takes; the value is the words for it."""

    AT_ONCE = "at once"
    DEADLINE = "at the deadline"
    AFTER_DEADLINE = "after one deadline"
    AFTER_DEADLINES = "after a deadline a try"
    CONNECT_LIMIT = "after `Timeouts.connect` a try"
    LINK = "as fast as the link"
    BACK = "when the service is back"

    @property
    def timeouts(self) -> Timeouts:
        """Return limits that let such a call take so long, and a test not longer."""
        match self:
            case When.DEADLINE | When.AFTER_DEADLINE | When.AFTER_DEADLINES:
                return Timeouts(connect=_AMPLE, total=_TOTAL)
            case When.CONNECT_LIMIT:
                return Timeouts(connect=_CONNECT, total=_AMPLE)
        return Timeouts(connect=_AMPLE, total=_AMPLE)

    def fits(self, seconds: float) -> bool:
        """Whether a call took so long."""
        least = {
            When.DEADLINE: _TOTAL,
            When.AFTER_DEADLINE: _TOTAL,
            When.AFTER_DEADLINES: TRIES * _TOTAL,
            When.CONNECT_LIMIT: TRIES * _CONNECT,
            When.LINK: _SLOW,
        }.get(self, 0.0)
        return least * 0.9 <= seconds < least + SLACK


@attrs.frozen
class Cell:
    """What one operation gets under one fault."""

    gets: str
    """`answer`, or the error; see `told()`."""

    seen: int
    """How often the service handled the request; of a session, its polls."""

    when: When = When.AT_ONCE

    def __str__(self) -> str:
        return words(self.gets, self.seen, self.when.value)


def words(gets: str, seen: int, when: str) -> str:
    """Return what a cell shows."""
    return f"{gets}, {seen}x, {when}"


def told(error: Exception | None) -> str:
    """Return in words what a caller gets; None for no error."""
    if error is None:
        return ANSWER
    words = f"`{type(error).__name__}`"
    if isinstance(error, SessionEndedError):
        words += f" (`{error.reason}`)"
    if isinstance(error, TransportError) and not error.sent:
        words += " (not sent)"
    return words
