"""What a session's watchers wait at: the events so far, and word of the next."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable
from operator import itemgetter

from akapulu_async.sansio.lifecycle import ProgressChanged, SessionEvent

KEPT_PROGRESS = 512
"""How many progress events are kept for those who come late. A conversation's getting ready has about a dozen; the
words of a long live call may be many more, of which the oldest are then forgotten."""


class EventLog:
    """The events of one session, in order, kept once for all watchers. Not for threads."""

    def __init__(self) -> None:
        self._old: list[tuple[int, SessionEvent]] = []
        """What is kept of those before `_recent`, with their numbers."""
        self._recent: list[SessionEvent] = []
        self._first = 0
        """The number of the first of `_recent`."""
        self._waiting: dict[asyncio.Future[None], None] | None = None

    async def news(self) -> None:
        """Wait for the next publication. Nothing is missed between a look at what there is and this."""
        waiter = asyncio.get_running_loop().create_future()
        waiting = self._waiting = self._waiting or {}
        waiting[waiter] = None
        try:
            await waiter
        finally:
            waiting.pop(waiter, None)

    def publish(self, events: Iterable[SessionEvent]) -> None:
        """Add events, and wake who waits for them."""
        self._recent += events
        if len(self._recent) > KEPT_PROGRESS:
            self._forget()
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            for waiter in tuple(waiting):
                if not waiter.done():
                    waiter.set_result(None)

    def after(self, number: int) -> tuple[int, SessionEvent] | None:
        """Return the first event whose number is at least the given one, and its number; None if there is none."""
        index = number - self._first
        if index >= 0:
            return (number, self._recent[index]) if index < len(self._recent) else None
        # There is one: what is newest is never forgotten.
        return self._old[bisect_left(self._old, number, key=itemgetter(0))]

    def _forget(self) -> None:
        """Let all be old, and of that drop no change of state, and no progress but the oldest that is too much."""
        self._old += enumerate(self._recent, self._first)
        self._first += len(self._recent)
        self._recent = []
        surplus, kept = sum(isinstance(event, ProgressChanged) for _, event in self._old) - KEPT_PROGRESS, []
        for numbered in self._old:
            if surplus > 0 and isinstance(numbered[1], ProgressChanged):
                surplus -= 1
            else:
                kept.append(numbered)
        self._old = kept


class Watcher:
    """One reader of a log, at its own pace: no generator, so that leaving its loop early leaves nothing behind.

    Args:
        log: What to read.
        end: Asked when all was read: whether there is an end; raises if it is one to be raised.
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
