"""Milestones: the steps until a bot is ready, and how long they take. Pure."""

import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from attrs import frozen

__all__ = [
    "CALL_READY",
    "MILESTONES",
    "NOT_STARTED",
    "ConversationProgress",
    "ReadyTime",
    "draw_offsets",
    "fixed_ready_time",
    "lognormal_ready_time",
]

ReadyTime: TypeAlias = Callable[[Random], float]
"""Draws the seconds from connect until the bot is ready."""

_MEDIAN_READY_TIME = 12.0  # seconds; documented: about 10 to 15
_SPREAD = 0.15  # sigma of the logarithm: four of five between 10 and 15 s
_JITTER = 0.5  # each step takes 0.5 to 1.5 of an even share


@frozen
class ConversationProgress:
    """The progress that `/updates/` reports.

    Attributes:
        percent: 0-100, with one decimal, as in the documented 63.6.
        text: the latest state in words.
        call_is_ready: whether bot and participant are ready.

    """

    percent: float
    text: str
    call_is_ready: bool = False


_TEXTS = (
    "conversation created",
    "room created",
    "scenario loaded",
    "avatar loaded",
    "speech recognition connected",
    "language model connected",
    "bot joined daily room",
    "voice connected",
    "avatar video started",
    "bot ready",
)

NOT_STARTED = ConversationProgress(0.0, "starting")
"""Before the first milestone. The text is invented."""

MILESTONES = tuple(
    ConversationProgress(round(100 * count / (len(_TEXTS) + 1), 1), text) for count, text in enumerate(_TEXTS, start=1)
)
"""The ten steps until the bot is ready, of eleven until the call is. `bot joined daily room` at 63.6 % is documented,
`bot ready` before anybody has joined is seen; the other texts, and that the steps are even, are invented."""

CALL_READY = ConversationProgress(100.0, MILESTONES[-1].text, call_is_ready=True)
"""The eleventh step: bot and participant are ready, at 100 % (documented). That the text stays is assumed."""


def lognormal_ready_time(rng: Random) -> float:
    """Draw a time to ready in seconds: lognormal around 12 s.

    Documented is "about 10 to 15 s"; the shape is assumed.
    """
    return rng.lognormvariate(math.log(_MEDIAN_READY_TIME), _SPREAD)


def fixed_ready_time(seconds: Any) -> ReadyTime:
    """Return a `ReadyTime` that always gives `seconds`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"ready_time must be a finite number of seconds, 0 or more, not {seconds!r}")
    return lambda _rng: seconds


def draw_offsets(rng: Random, ready_time: float) -> tuple[float, ...]:
    """Return the second of each milestone: unevenly spread, the last exactly at `ready_time`."""
    shares = [rng.uniform(1 - _JITTER, 1 + _JITTER) for _ in _TEXTS]
    sums = list(itertools.accumulate(shares))
    return (*(ready_time * reached / sums[-1] for reached in sums[:-1]), ready_time)
