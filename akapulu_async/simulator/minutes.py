"""Minutes: a running sum over open calls, kept without walking them all. Pure."""

import heapq
from typing import Protocol

from akapulu_async.simulator.plan import SECONDS_PER_MINUTE, Plan

__all__ = ["Meter"]

_EARLY = 1e-6  # seconds: looked at a little before a minute may turn, as rounding may turn it


class Call(Protocol):
    """What the meter asks of a conversation."""

    id: str

    def counted_from(self) -> float | None:
        """Return the moment from which minutes count; None while that is unknown."""

    def call_seconds(self, now: float) -> float:
        """Return how many seconds count so far."""


class Meter:
    """Adds up the whole minutes of open calls.

    A call is looked at only when its count may have grown, once a simulated minute, instead of every call each
    time the sum is asked for. `now` must never go back from one `total` to the next.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._calls: dict[str, Call] = {}
        self._minutes: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._total = 0

    def expect(self, call: Call) -> None:
        """Take a call in, or note that the moment from which it counts has changed."""
        self._calls[call.id] = call
        self._minutes.setdefault(call.id, 0)
        start = call.counted_from()
        if start is None:
            self._due.pop(call.id, None)
        else:
            self._look_at(call.id, start - _EARLY)

    def drop(self, identifier: str) -> None:
        """Count a call no more."""
        del self._calls[identifier]
        self._due.pop(identifier, None)
        self._total -= self._minutes.pop(identifier)

    def total(self, now: float) -> int:
        """Return the whole minutes of all calls taken in."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, identifier = heapq.heappop(self._heap)
            if self._due.get(identifier) == at:
                del self._due[identifier]
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
            self._look_at(call.id, start + whole * SECONDS_PER_MINUTE - _EARLY)

    def _look_at(self, identifier: str, at: float) -> None:
        self._due[identifier] = at
        heapq.heappush(self._heap, (at, identifier))
