"""What a cell of the matrix promises, and in which words."""

import enum
from collections.abc import Mapping

import attrs

from akapulu_async import SessionEndedError, Timeouts, TransportError

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "`connect`": ("connect",),
    '`updates`, `detail`, `wait_for_recording`, `request("GET", ...)`': (
        "updates",
        "detail",
        "wait_for_recording",
        "request",
    ),
    "`recording`, also redirected": ("recording", "redirected recording"),
    "`download_recording`, also redirected": ("download_recording", "redirected download_recording"),
    "session": ("session",),
    "session of `attach`": ("attach",),
}
"""The columns: the operations that get the same under each fault."""

ANSWER = "answer"
TRIES = 3
"""How often each request is tried, and each session's poll may fail in a row before the session ends."""

_AMPLE, _TOTAL, _CONNECT = 10.0, 1.0, 0.1

SLACK = 0.9 * _TOTAL
"""Seconds that a busy machine may take for what takes none; with less than a deadline, one too many is seen."""

LINK_SPEED = 10_000
"""Bytes a second that the slow link passes."""

LEAST_DELAY = 0.01
"""Seconds that each delay of the link with latency takes at the least."""

_EARLY = 0.95  # by how much timers may be early


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


@attrs.frozen
class Cell:
    """What one operation gets under one fault."""

    gets: str
    """`answer`, or the error; see `told()`."""

    seen: int
    """How often the service handled the request; of a session, its polls."""

    when: When = When.AT_ONCE

    fruitless: int = TRIES
    """How many tries take a deadline each, if that is when."""

    def fits(self, seconds: float, link: float) -> bool:
        """Whether a call took as long as it is said to, and the link so many seconds of that for the least."""
        least = {
            When.DEADLINE: _TOTAL,
            When.AFTER_DEADLINE: _TOTAL,
            When.AFTER_DEADLINES: self.fruitless * _TOTAL,
            When.CONNECT_LIMIT: TRIES * _CONNECT,
            When.LINK: link,
        }.get(self.when, 0.0)
        return least * _EARLY <= seconds < least + SLACK

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
