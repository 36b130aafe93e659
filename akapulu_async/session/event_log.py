"""The log of a session's events, and the watchers that read it."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable
from operator import itemgetter

from akapulu_async.sansio.lifecycle import ProgressChanged, SessionEvent

KEPT_PROGRESS = 512
"""How many progress events are kept for late watchers. Getting ready takes about a dozen, a long live call many
more; the oldest are dropped."""


class EventLog:
    """The events of one session, in order, stored once for all watchers. Not thread-safe."""

    def __init__(self) -> None:
        self._old: list[tuple[int, SessionEvent]] = []  # with their numbers
        self._recent: list[SessionEvent] = []
        self._first = 0  # the number of the first of `_recent`
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def news(self) -> None:
        """Wait for the next publication. Nothing is missed between reading the log and this call."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            await waiter
        finally:
            del self._waiting[waiter]

    def publish(self, events: Iterable[SessionEvent]) -> None:
        """Add events and wake the watchers."""
        self._recent += events
        if len(self._recent) > KEPT_PROGRESS:
            self._forget()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def after(self, number: int) -> tuple[int, SessionEvent] | None:
        """Return the first event numbered `number` or later, with its number; None if there is none yet."""
        index = number - self._first
        if index >= 0:
            return (number, self._recent[index]) if index < len(self._recent) else None
        # There is one: the newest event is never dropped.
        return self._old[bisect_left(self._old, number, key=itemgetter(0))]

    def _forget(self) -> None:
        """Move all events to `_old`, and drop the oldest surplus progress events. State changes are kept."""
        self._old += enumerate(self._recent, self._first)
        self._first += len(self._recent)
        self._recent = []
        numbers = [number for number, event in self._old if isinstance(event, ProgressChanged)]
        dropped = set(numbers[:-KEPT_PROGRESS])
        self._old = [numbered for numbered in self._old if numbered[0] not in dropped]


class Watcher:
    """One reader of a log, at its own pace. Not a generator, so that leaving its loop early leaves nothing to close.

    `end` is called when all events are read: it returns True at the end, and raises if the end is an error.
    """

    def __init__(self, log: EventLog, end: Callable[[], bool]) -> None:
        self._log = log
        self._end = end
        self._next = 0

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self

    async def __anext__(self) -> SessionEvent:
        while True:
            found = self._log.after(self._next)
            if found is not None:
                self._next = found[0] + 1
                return found[1]
            if self._end():
                raise StopAsyncIteration
            await self._log.news()
