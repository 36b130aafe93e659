"""The journal: records requests, and waits for them and for clients to catch up, without sleeping."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

from attrs import frozen

from akapulu_async.simulator.faults import Fault
from akapulu_async.simulator.requests import Match, Route

__all__ = ["Journal", "SeenRequest"]

_COUNTS = 1000  # kept before those of forgotten conversations are looked for
_LOOK_AGAIN = 0.01  # real seconds
_NEVER = (-1, -1)
_ROUNDS = 100  # of the event loop: a client in it reads an answer and acts on it in about ten


@frozen
class SeenRequest:
    """A request that the simulator saw.

    Attributes:
        number: 1 for the first since the start, without gaps.
        at: the simulated second.
        method: as received.
        path: path and query, as received.
        route: None for an unknown path.
        conversation_id: from the path, in lower case; None: none.
        status: of the answer, also if that was lost; None: no answer.
        fault: the fault that hit it; None: none.

    """

    number: int
    at: float
    method: str
    path: str
    route: Route | None
    conversation_id: str | None
    status: int | None
    fault: Fault | None


class Journal:
    """Keeps the latest requests, counts all requests, and wakes waiters.

    `time_passes`: time alone may make a condition true, so waiters look again every 10 real milliseconds.
    `conversations`: the ids counted one by one (None: any), so that unknown ids do not fill the memory.
    """

    def __init__(
        self, *, keep: int | None, time_passes: bool = False, conversations: Collection[str] | None = None
    ) -> None:
        self.requests: deque[SeenRequest] = deque(maxlen=keep)
        self._counts: Counter[tuple[Route | None, str | None]] = Counter()
        self._conversations = conversations
        self._forget_at = _COUNTS
        self._number = 0
        self._changes = 0
        self._polls: dict[str, tuple[int, int]] = {}  # by conversation: changes before its last two polls
        self._changed = asyncio.Event()
        self._waiting = 0
        self._time_passes = time_passes

    def record(  # noqa: PLR0917 - what is seen of a request, in order
        self, at: float, method: str, path: str, where: Match, status: int | None, fault: Fault | None
    ) -> None:
        """Record a request."""
        self._number += 1
        route, conversation_id = where.route, where.conversation_id
        self.requests.append(SeenRequest(self._number, at, method, path, route, conversation_id, status, fault))
        self._counts[route, None] += 1
        if conversation_id is not None and (self._knows(conversation_id) or conversation_id in self._polls):
            self._counts[route, conversation_id] += 1
            self._counts[None, conversation_id] += 1
            if route == "updates":
                self._polls[conversation_id] = self._polls.get(conversation_id, _NEVER)[1], self._changes
            self._forget_old()
        self.wake()

    def stop(self, conversation_id: str | None) -> None:
        """Note that the last answer to a conversation's polls was sent."""
        if conversation_id is not None:
            self._polls.pop(conversation_id, None)
        self.wake()

    def change(self) -> None:
        """Note that answers may differ from now on."""
        self._changes += 1
        self.wake()

    def _knows(self, conversation_id: str) -> bool:
        return self._conversations is None or conversation_id in self._conversations

    def _forget_old(self) -> None:
        if self._conversations is None or len(self._counts) < self._forget_at:
            return
        known = self._conversations
        kept = {key: seen for key, seen in self._counts.items() if key[1] is None or key[1] in known}
        self._counts = Counter(kept)
        self._polls = {each: polls for each, polls in self._polls.items() if each in known}
        self._forget_at = max(_COUNTS, 2 * len(kept))  # amortized over many requests

    def count(self, route: Route | None = None, conversation_id: str | None = None) -> int:
        """Return the number of requests since the start: of one route, for one conversation, or all.

        0 for an unknown conversation.
        """
        if (route, conversation_id) == (None, None):
            return self._number
        return self._counts[route, conversation_id]

    def wake(self) -> None:
        """Let waiters look again."""
        if self._waiting:
            self._changed.set()

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Wait until a condition holds. Raises `TimeoutError` after `timeout` real seconds (None: never).

        It is checked after each change, and every 10 real milliseconds if time passes by itself.
        """
        async with asyncio.timeout(timeout):
            self._waiting += 1
            try:
                while not condition():
                    self._changed.clear()
                    await self._change()
            finally:
                self._waiting -= 1

    async def _change(self) -> None:
        if not self._time_passes:
            await self._changed.wait()
            return
        timer = asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def settle(self, conversation_id: str | None, timeout: float | None) -> None:
        """Wait until all conversations, or one, have settled: see `Operations.settle`."""
        changes = self._changes
        ids = [*self._polls, *(self._conversations or ())] if conversation_id is None else [conversation_id]
        try:
            async with asyncio.timeout(timeout):
                for each in ids:
                    await self.wait_until(partial(self._has_settled, each, changes), None)
        except TimeoutError:
            late = [each for each in dict.fromkeys(ids) if not self._has_settled(each, changes)]
            if late:
                raise TimeoutError(self._why_late(late, changes)) from None
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)

    def _has_settled(self, conversation_id: str, changes: int) -> bool:
        if conversation_id in self._polls:
            seen, _ = self._polls[conversation_id]
            return seen >= changes
        return self._counts["updates", conversation_id] > 0 or not self._knows(conversation_id)

    def _why_late(self, late: Sequence[str], changes: int) -> str:
        _, answered = self._polls.get(late[0], _NEVER)
        if late[0] not in self._polls:
            polled = "has not been polled yet"
        elif answered < changes:
            polled = "has not been polled since the last change"
        else:
            polled = "was polled since the last change, but not a second time"
        others = f" (nor have {len(late) - 1} others)" if len(late) > 1 else ""
        return (
            f"conversation {late[0]} has not settled{others}: it {polled}. If its client has stopped, "
            "wait for the other conversations alone: settle(conversation_id=...)"
        )
