"""Plans: the limits of an account, and the minutes counted against them. Pure."""

import math
from typing import Literal, Protocol

from attrs import field, frozen

from akapulu_async.simulator.checks import number, one_of, optional
from akapulu_async.simulator.schedule import Schedule

__all__ = ["Meter", "Plan"]

SECONDS_PER_MINUTE = 60.0
_DECIMALS = 6  # of a second: differences of clock readings are a little off, and must not begin a minute
_EARLY = 1e-6  # seconds: looked at a little before a minute may turn, as rounding may turn it


@frozen(kw_only=True)
class Plan:
    """The limits of an account. The limits are documented, the defaults invented.

    Attributes:
        max_concurrent: conversations open at once; None means no limit.
        minutes: whole minutes per month; None means no limit. The simulated month never ends.
        max_call_seconds: the longest call; None means no cap. A call's own cap is the lower of this
            and the minutes left (documented), taken when it is connected (assumed).
        participant_join_timeout: seconds from connect until a conversation nobody joined ends; None means
            never. That it ends is documented, after how long is assumed.
        max_lifetime: seconds from connect until a conversation expires, whatever its state; None means
            never. That it expires is documented, after how long is assumed.
        rounding: whether a minute counts once `begun` or once `completed`. Whole minutes are documented, the rounding
            is assumed.
        counted_from: when minutes and the cap start to count: when the call is `ready`, when the
            participant `joined`, or at `connect`. Assumed.

    """

    max_concurrent: int | None = field(default=None, validator=optional(number(whole=True)))
    minutes: int | None = field(default=None, validator=optional(number(whole=True)))
    max_call_seconds: float | None = field(default=3600.0, validator=optional(number()))
    participant_join_timeout: float | None = field(default=300.0, validator=optional(number()))
    max_lifetime: float | None = field(default=7200.0, validator=optional(number()))
    rounding: Literal["begun", "completed"] = field(default="begun", validator=one_of("begun", "completed"))
    counted_from: Literal["ready", "joined", "connect"] = field(
        default="ready", validator=one_of("ready", "joined", "connect")
    )

    @classmethod
    def free(cls) -> "Plan":
        """Return the free plan with its figures (seen): 2 calls at once, 10 minutes, 3 minutes a call."""
        return cls(max_concurrent=2, minutes=10, max_call_seconds=3 * SECONDS_PER_MINUTE)

    def whole_minutes(self, seconds: float) -> int:
        """Return the minutes counted for a call of `seconds`."""
        minutes = round(seconds, _DECIMALS) / SECONDS_PER_MINUTE
        return math.ceil(minutes) if self.rounding == "begun" else math.floor(minutes)

    def call_cap(self, minutes_used: int) -> float | None:
        """Return the seconds a call may last after `minutes_used` minutes. None: no cap."""
        caps = [] if self.max_call_seconds is None else [self.max_call_seconds]
        if self.minutes is not None:
            caps.append(max(0, self.minutes - minutes_used) * SECONDS_PER_MINUTE)
        return min(caps, default=None)


class Call(Protocol):
    """The part of a conversation that the meter reads."""

    id: str

    def counted_from(self) -> float | None:
        """Return when minutes start to count. None: unknown yet."""

    def call_seconds(self, now: float) -> float:
        """Return how many seconds count so far."""


class Meter:
    """Adds up the whole minutes of open calls.

    It looks at a call once a simulated minute, when its count may have grown, instead of at all calls for each
    total. `now` must not go back from one `total` to the next.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._calls: dict[str, Call] = {}
        self._minutes: dict[str, int] = {}
        self._due = Schedule()
        self._total = 0

    def expect(self, call: Call) -> None:
        """Add a call, or note that its start has changed."""
        self._calls[call.id] = call
        self._minutes.setdefault(call.id, 0)
        start = call.counted_from()
        if start is None:
            self._due.drop(call.id)
        else:
            self._due.set(call.id, start - _EARLY)

    def drop(self, identifier: str) -> None:
        """Stop counting a call."""
        del self._calls[identifier]
        self._due.drop(identifier)
        self._total -= self._minutes.pop(identifier)

    def total(self, now: float) -> int:
        """Return the whole minutes of all calls added."""
        due = []
        while (identifier := self._due.pop(now)) is not None:
            due.append(self._calls[identifier])
        for call in due:
            self._count(call, now)
        return self._total

    def _count(self, call: Call, now: float) -> None:
        minutes = self._plan.whole_minutes(call.call_seconds(now))
        self._total += minutes - self._minutes[call.id]
        self._minutes[call.id] = minutes
        start = call.counted_from()
        if start is not None:
            whole = minutes if self._plan.rounding == "begun" else minutes + 1
            self._due.set(call.id, start + whole * SECONDS_PER_MINUTE - _EARLY)
