"""The cells of the matrix, and their wording."""

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
"""The columns. Operations in one column get the same under each fault."""

ANSWER = "answer"
TRIES = 3
"""Attempts of each request, and failed polls in a row that end a session."""

UNITS = (1.0, 4.0, 16.0)
"""Seconds of a deadline. The next one is tried where a busy machine is too slow to tell one deadline from none."""

_AMPLE, _CONNECT = 10.0, 0.1  # units

_SLACK = 0.9
"""Units that anything may take beyond its waits; less than one, so that one deadline too many is seen."""

LINK_SPEED = 10_000
"""Bytes per second of the slow link."""

LEAST_DELAY = 0.01
"""Shortest delay of the link with latency, in seconds."""

_EARLY = 0.95  # timers may fire a little early


class When(enum.Enum):
    """How long a call takes; the value is its wording."""

    AT_ONCE = "at once"
    DEADLINE = "at the deadline"
    AFTER_DEADLINE = "after one deadline"
    AFTER_DEADLINES = "after a deadline a try"
    CONNECT_LIMIT = "after `Timeouts.connect` a try"
    LINK = "as fast as the link"
    BACK = "when the service is back"

    def timeouts(self, unit: float) -> Timeouts:
        """Return limits with which a call takes that long."""
        match self:
            case When.DEADLINE | When.AFTER_DEADLINE | When.AFTER_DEADLINES:
                return Timeouts(connect=_AMPLE * unit, total=unit)
            case When.CONNECT_LIMIT:
                return Timeouts(connect=_CONNECT * unit, total=_AMPLE * unit)
        return Timeouts(connect=_AMPLE * unit, total=_AMPLE * unit)


@attrs.frozen
class Cell:
    """The result of one operation under one fault."""

    gets: str
    """`answer`, or the error; see `told()`."""

    seen: int
    """How often the service handled the request; for a session, its polls."""

    when: When = When.AT_ONCE

    fruitless: int = TRIES
    """With `AFTER_DEADLINES`, how many attempts take a deadline each."""

    def least(self, unit: float, link: float) -> float:
        """Return the seconds that the waits of a call take, where the link takes `link` of them."""
        return {
            When.DEADLINE: unit,
            When.AFTER_DEADLINE: unit,
            When.AFTER_DEADLINES: self.fruitless * unit,
            When.CONNECT_LIMIT: TRIES * _CONNECT * unit,
            When.LINK: link,
        }.get(self.when, 0.0)

    def too_early(self, seconds: float, unit: float, link: float) -> bool:
        """Return True if a call took less time than its waits."""
        return seconds < _EARLY * self.least(unit, link)

    def too_late(self, seconds: float, unit: float, link: float) -> bool:
        """Return True if a call took longer than its waits explain: it waited too often, or the machine was busy."""
        return seconds >= self.least(unit, link) + _SLACK * unit

    def __str__(self) -> str:
        return words(self.gets, self.seen, self.when.value)


def words(gets: str, seen: int, when: str) -> str:
    """Return the text of a cell."""
    return f"{gets}, {seen}x, {when}"


def told(error: Exception | None) -> str:
    """Return the wording of a result: an error, or None for an answer."""
    if error is None:
        return ANSWER
    words = f"`{type(error).__name__}`"
    if isinstance(error, SessionEndedError):
        words += f" (`{error.reason}`)"
    if isinstance(error, TransportError) and not error.sent:
        words += " (not sent)"
    return words
