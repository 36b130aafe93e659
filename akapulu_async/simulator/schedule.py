"""Schedules: when something is due next for each of many ids. Pure."""

import heapq

__all__ = ["Schedule"]

_SLACK = 64  # outdated entries that are always kept


class Schedule:
    """At most one due time per id, earliest first.

    Replaced and dropped times stay in the heap until they are due, or until they are more than half of it.
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, identifier: str, at: float) -> None:
        """Set or replace an id's time."""
        self._due[identifier] = at
        heapq.heappush(self._heap, (at, identifier))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._heap = [(due, each) for each, due in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, identifier: str) -> None:
        """Remove an id's time, if it has one."""
        self._due.pop(identifier, None)

    def pop(self, now: float) -> str | None:
        """Remove and return the id that is due first. None: none is due."""
        while self._heap and self._heap[0][0] <= now:
            at, identifier = heapq.heappop(self._heap)
            if self._due.get(identifier) == at:
                del self._due[identifier]
                return identifier
        return None
