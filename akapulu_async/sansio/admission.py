"""Who may start next: slots, the pace of connects, and an account whose slots are taken. Pure: time is passed in."""

from bisect import bisect_left, insort
from collections.abc import Callable

import attrs

from akapulu_async.checks import check_interval, checked_by


@attrs.frozen
class FullPolicy:
    """How long to wait when the account's conversation slots are all taken, and none is seen to get free here."""

    base: float = attrs.field(default=1.0, validator=checked_by(check_interval))
    """Seconds: about the first pause."""

    cap: float = attrs.field(default=30.0, validator=checked_by(check_interval))
    """Seconds: about the longest pause. A slot that another program gives back is noticed this late at the most."""

    def pause(self, refusals: int, rng: Callable[[], float]) -> float:
        """Return how many seconds to wait after so many refusals in a row: doubling, from half to all of it drawn."""
        return min(self.cap, self.base * 2.0 ** min(refusals - 1, 60)) * (0.5 + 0.5 * rng())


@attrs.define(eq=False, repr=False)
class Pace:
    """So many a second, evenly: each caller is told how long to wait for its turn, in the order of asking.

    Args:
        rate: How many a second; None for no limit.
        burst: Seconds' worth of turns that may be taken at once after a lull.
    """

    rate: float | None
    burst: float = 0.1
    _next: float = attrs.field(default=float("-inf"), init=False)

    def wait(self, now: float) -> float:
        """Take the next turn, and return how many seconds from now it is."""
        wait = self.until_next(now)
        if self.rate is not None:
            self._next = max(self._next, now) + 1 / self.rate
        return wait

    def until_next(self, now: float) -> float:
        """Return in how many seconds the next turn is, without taking it."""
        return 0.0 if self.rate is None else max(0.0, self._next - self.burst - now)


@attrs.define(eq=False, repr=False)
class Admission:
    """Admits those who want to start, first come first served. Tickets are numbers, in the order of arrival.

    While the account is full (the service said so), only those are admitted for whom a slot was seen to get free, and
    now and then one more to see whether others gave slots back.

    Args:
        limit: How many may run at once; None for any number.
        pace: How many may start a second.
        full: How long to wait when the account is full; None: who meets that is refused, and nobody waits.
        rng: Gives random numbers from 0 to 1.
    """

    limit: int | None
    pace: Pace
    full: FullPolicy | None
    rng: Callable[[], float]

    running: int = attrs.field(default=0, init=False)
    """How many were admitted and have not ended."""

    _waiting: list[int] = attrs.field(factory=list, init=False)
    _arrived: int = attrs.field(default=0, init=False)
    # Who was admitted and has not started yet: whether for a slot that was seen to get free, and how many had ended.
    _coming: dict[int, tuple[bool, int]] = attrs.field(factory=dict, init=False)
    _ends: int = attrs.field(default=0, init=False)
    # While the account is full: how often in a row it was, when to look again, who is looking, slots seen to get free.
    _refusals: int = attrs.field(default=0, init=False)
    _look_at: float = attrs.field(default=0.0, init=False)
    _looking: int | None = attrs.field(default=None, init=False)
    _freed: int = attrs.field(default=0, init=False)

    @property
    def waiting(self) -> int:
        """How many wait to be admitted."""
        return len(self._waiting)

    def arrive(self) -> int:
        """Somebody wants to start. Returns its ticket."""
        self._arrived += 1
        self._waiting.append(self._arrived)
        return self._arrived

    def leave(self, ticket: int) -> None:
        """Somebody gives up, who waits, was just admitted, or was just dismissed."""
        place = bisect_left(self._waiting, ticket)
        if ticket in self._waiting[place : place + 1]:
            del self._waiting[place]
            self._forget_fullness()
        elif ticket in self._coming:
            self.failed(ticket)

    def admitted(self, now: float) -> list[int]:
        """Return the tickets of those who may start now."""
        tickets = []
        while self._waiting and self._may_admit(now):
            ticket = self._waiting.pop(0)
            self.pace.wait(now)
            self.running += 1
            self._coming[ticket] = (self._spend(ticket), self._ends)
            tickets.append(ticket)
        return tickets

    def due(self, now: float) -> float | None:
        """Return in how many seconds time alone may admit somebody; None if it will not."""
        if not self._waiting or not self._has_room():
            return None
        wait = self.pace.until_next(now)
        if not self._refusals or self._freed:
            return wait
        return None if self._looking is not None else max(wait, self._look_at - now)

    def connected(self, ticket: int, now: float) -> None:
        """Somebody who was admitted has started."""
        del self._coming[ticket]
        if self._looking == ticket:
            # Others gave slots back, perhaps more than this one: look again at once.
            self._looking, self._refusals, self._look_at = None, 1, now
        self._forget_fullness()

    def refused(self, ticket: int, now: float) -> None:
        """Somebody who was admitted was told that the account is full: it waits again, at its old place."""
        assert self.full is not None
        self.running -= 1
        freed, ends = self._coming.pop(ticket)
        insort(self._waiting, ticket)
        if not self._refusals and ends != self._ends:
            # Perhaps it was refused before a slot got free that nobody counted then: look again at once.
            self._refusals, self._look_at = 1, now
        elif self._looking == ticket or not self._refusals:
            # Only these tell something new; others were on their way when it was known already.
            self._looking = None
            self._refusals += 1
            self._look_at = now + self.full.pause(self._refusals, self.rng)
        elif freed:
            # The service may free a slot a moment after its conversation's end.
            self._look_at = min(self._look_at, now + self.full.pause(1, self.rng))

    def failed(self, ticket: int) -> None:
        """Somebody who was admitted could not start, for a reason that says nothing about the account's slots."""
        self.running -= 1
        freed, _ = self._coming.pop(ticket)
        if freed and self._refusals:
            self._freed += 1  # it is free still
        if self._looking == ticket:
            self._looking = None
        self._forget_fullness()

    def ended(self) -> None:
        """Somebody who had started has ended, which gives a slot of the account back."""
        self.running -= 1
        self.freed()

    def freed(self) -> None:
        """A slot of the account was given back."""
        self._ends += 1
        if self._refusals:
            self._freed += 1

    def dismiss(self) -> list[int]:
        """Nobody who waits will be admitted. Returns their tickets."""
        tickets, self._waiting = self._waiting, []
        self._forget_fullness()
        return tickets

    def _may_admit(self, now: float) -> bool:
        if not self._has_room() or self.pace.until_next(now) > 0:
            return False
        if not self._refusals or self._freed:
            return True
        return self._looking is None and now >= self._look_at

    def _has_room(self) -> bool:
        return self.limit is None or self.running < self.limit

    def _spend(self, ticket: int) -> bool:
        """While the account is full: take a slot that was seen to get free, or else go to look for one."""
        if self._freed:
            self._freed -= 1
            return True
        if self._refusals:
            self._looking = ticket
        return False

    def _forget_fullness(self) -> None:
        # Nobody waits any more, so that the next to come may try its luck.
        if not self._waiting and self._looking is None:
            self._refusals = self._freed = 0
