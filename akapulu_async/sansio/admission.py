"""Which start is next: places, the pace of connects, and accounts that are full. Pure: time is passed in."""

from bisect import bisect_left, insort
from collections.abc import Callable

import attrs

from akapulu_async.checks import check_interval, checked_by


@attrs.frozen
class FullPolicy:
    """The pauses before a connect is tried again on a full account, unless a session ends here first."""

    base: float = attrs.field(default=1.0, validator=checked_by(check_interval))
    """Seconds: the first pause, half to all of it."""
    cap: float = attrs.field(default=30.0, validator=checked_by(check_interval))
    """Seconds: the longest pause. A slot that another program frees is noticed at most this late."""

    def pause(self, refusals: int, rng: Callable[[], float]) -> float:
        """Return the seconds to wait after `refusals` refusals in a row: they double; half to all of them is drawn."""
        return min(self.cap, self.base * 2.0 ** min(refusals - 1, 60)) * (0.5 + 0.5 * rng())


@attrs.define(eq=False, repr=False)
class Pace:
    """An even rate of turns, first come, first served.

    Args:
        rate: Turns per second; None for no limit.
        burst: Seconds' worth of turns that may be taken at once after a lull.
    """

    rate: float | None
    burst: float = 0.1
    _next: float = attrs.field(default=float("-inf"), init=False)

    def take(self, now: float) -> None:
        """Take the next turn."""
        if self.rate is not None:
            self._next = max(self._next, now) + 1 / self.rate

    def until_next(self, now: float) -> float:
        """Return in how many seconds the next turn is. Takes none."""
        return 0.0 if self.rate is None else max(0.0, self._next - self.burst - now)


@attrs.define(eq=False, repr=False)
class Admission:
    """Admits starts, first come, first served. Tickets are numbers in the order of arrival.

    After the service refused a connect because the account is full, a start is admitted for each slot that was freed
    here, and now and then one more, the probe, to find slots that other programs freed.

    Args:
        limit: How many may run at once; None for any number.
        pace: How many may start per second.
        full: The pauses on a full account; None: a refused start fails, and none waits for a slot.
        rng: Returns random numbers from 0 to 1.
    """

    limit: int | None
    pace: Pace
    full: FullPolicy | None
    rng: Callable[[], float]

    running: int = attrs.field(default=0, init=False)
    """How many were admitted and have not ended."""

    _waiting: list[int] = attrs.field(factory=list, init=False)
    _arrived: int = attrs.field(default=0, init=False)
    # Admitted starts that are not connected yet: whether for a freed slot, and the count of ends at that time.
    _coming: dict[int, tuple[bool, int]] = attrs.field(factory=dict, init=False)
    _ends: int = attrs.field(default=0, init=False)
    # While the account is full: refusals in a row, when to probe, the probing ticket, slots freed here.
    _refusals: int = attrs.field(default=0, init=False)
    _probe_at: float = attrs.field(default=0.0, init=False)
    _probing: int | None = attrs.field(default=None, init=False)
    _freed: int = attrs.field(default=0, init=False)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def arrive(self) -> int:
        """Queue a start. Returns its ticket."""
        self._arrived += 1
        self._waiting.append(self._arrived)
        return self._arrived

    def leave(self, ticket: int) -> None:
        """A start gave up: one that waits, was just admitted, or was just dismissed."""
        place = bisect_left(self._waiting, ticket)
        if ticket in self._waiting[place : place + 1]:
            del self._waiting[place]
            self._forget_fullness()
        elif ticket in self._coming:
            self.failed(ticket)

    def admitted(self, now: float) -> list[int]:
        """Admit the starts that may begin now. Returns their tickets."""
        tickets = []
        while self.due(now) == 0.0:
            ticket = self._waiting.pop(0)
            self.pace.take(now)
            self.running += 1
            freed = self._freed > 0
            if freed:
                self._freed -= 1
            elif self._refusals:
                self._probing = ticket
            self._coming[ticket] = (freed, self._ends)
            tickets.append(ticket)
        return tickets

    def due(self, now: float) -> float | None:
        """Return in how many seconds time alone may admit a start; None if it will not."""
        if not self._waiting or (self.limit is not None and self.running >= self.limit):
            return None
        wait = self.pace.until_next(now)
        if not self._refusals or self._freed:
            return wait
        return None if self._probing is not None else max(wait, self._probe_at - now)

    def connected(self, ticket: int, now: float) -> None:
        """An admitted start was connected."""
        del self._coming[ticket]
        if self._probing == ticket:
            # Other programs freed slots, perhaps more than this one: probe again at once.
            self._probing, self._refusals, self._probe_at = None, 1, now
        self._forget_fullness()

    def refused(self, ticket: int, now: float) -> None:
        """An admitted start met a full account: it waits again, at its old place."""
        assert self.full is not None
        self.running -= 1
        freed, ends = self._coming.pop(ticket)
        insort(self._waiting, ticket)
        if not self._refusals and ends != self._ends:
            # It may have been refused before a slot was freed that did not count then: probe again at once.
            self._refusals, self._probe_at = 1, now
        elif self._probing == ticket or not self._refusals:
            # Only these are news; the others were under way when the account was known to be full.
            self._probing = None
            self._refusals += 1
            self._probe_at = now + self.full.pause(self._refusals, self.rng)
        elif freed:
            # The service may free a slot a moment after its conversation ended.
            self._probe_at = min(self._probe_at, now + self.full.pause(1, self.rng))

    def failed(self, ticket: int) -> None:
        """An admitted start failed for a reason that says nothing about the account's slots."""
        self.running -= 1
        freed, _ = self._coming.pop(ticket)
        if freed and self._refusals:
            self._freed += 1  # it is still free
        if self._probing == ticket:
            self._probing = None
        self._forget_fullness()

    def ended(self, *, started_here: bool) -> None:
        """A session ended, which freed a slot of the account."""
        if started_here:
            self.running -= 1
        self._ends += 1
        if self._refusals:
            self._freed += 1

    def dismiss(self) -> list[int]:
        """Admit none of the waiting starts. Returns their tickets."""
        tickets, self._waiting = self._waiting, []
        self._forget_fullness()
        return tickets

    def _forget_fullness(self) -> None:
        # No start waits any more: the next to arrive may try.
        if not self._waiting and self._probing is None:
            self._refusals = self._freed = 0
