"""Broadcast to the events of all sessions: each with a buffer of its own, which may run over but not block."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from weakref import WeakSet

import attrs

from akapulu_async.sansio.lifecycle import SessionEvent

EVENT_BUFFER = 10_000
"""How many events wait for a listener: a burst of thousands of sessions, some megabytes at the most."""


@attrs.frozen
class EventsMissed:
    """A listener fell behind: events were dropped here, the oldest first."""

    count: int
    """How many."""


ManagerEvent = SessionEvent | EventsMissed


class Subscription:
    """One reader of all events from now on. Dropping it is enough to stop it."""

    def __init__(self, buffer: int) -> None:
        self._events: deque[SessionEvent] = deque(maxlen=buffer)
        self._missed = 0
        self._closed = False
        self._news = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[ManagerEvent]:
        return self

    async def __anext__(self) -> ManagerEvent:
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                return EventsMissed(missed)
            if self._events:
                return self._events.popleft()
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    def hear(self, events: Iterable[SessionEvent]) -> None:
        """Take events; the oldest that wait make room."""
        for event in events:
            self._missed += len(self._events) == self._events.maxlen
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """No more events will come."""
        self._closed = True
        self._news.set()


class Broadcast:
    """All broadcast of a manager."""

    def __init__(self) -> None:
        self._listeners: WeakSet[Subscription] = WeakSet()
        self._closed = False

    def open(self) -> None:
        """Events will come."""
        self._closed = False

    def add(self, buffer: int) -> Subscription:
        """Return a new listener."""
        listener = Subscription(buffer)
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        return listener

    def hear(self, events: Iterable[SessionEvent]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.hear(events)

    def close(self) -> None:
        """Tell all that no more will come, and those who come yet."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
