"""The events of all sessions of a manager, for one subscriber."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import attrs

from akapulu_async.sansio.lifecycle import SessionEvent

EVENT_BUFFER = 10_000
"""How many events are kept for a subscriber: a burst of thousands of sessions, a few megabytes at most."""


@attrs.frozen
class EventsMissed:
    """A subscriber fell behind, and the oldest events were dropped here."""

    count: int
    """How many were dropped."""
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC), eq=False)
    """When the subscriber reached the gap, in UTC."""
    session_id: None = None
    """None: events of any session may be missing."""

    def to_json(self) -> dict[str, Any]:
        """Return the event as `json.dumps()` takes it."""
        return {"event": "missed", "session_id": None, "at": self.at.isoformat(), "count": self.count}


ManagerEvent = SessionEvent | EventsMissed


class Subscription:
    """One reader of all events from now on. Drop it to unsubscribe."""

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

    def publish(self, events: Iterable[SessionEvent]) -> None:
        """Add events; the oldest unread ones make room."""
        for event in events:
            self._missed += len(self._events) == self._events.maxlen
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """End the iteration after the events so far."""
        self._closed = True
        self._news.set()
