"""Operations: the methods by which a test in the same process drives and observes a simulator."""

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Literal, Protocol
from uuid import UUID

from akapulu_async.simulator.conversation import Conversation, ConversationEnd, ConversationView
from akapulu_async.simulator.faults import Fault, FaultBook, FaultHandle
from akapulu_async.simulator.journal import Journal, SeenRequest
from akapulu_async.simulator.requests import Route
from akapulu_async.simulator.settings import Settings
from akapulu_async.simulator.storage import Storage
from akapulu_async.simulator.world import Statistics, UnknownConversationError, World

__all__ = ["SETTLE_TIMEOUT", "HasSessionId", "Operations"]

SETTLE_TIMEOUT = 20.0  # real seconds: more than two polls of a client that polls every 5 s


class HasSessionId(Protocol):
    """Anything with a conversation's id, such as the client's `Connection`."""

    @property
    def conversation_session_id(self) -> str | UUID:
        """The conversation's id."""


class Clock:
    """Simulated seconds since the clock was made: `speed` per real second, plus what `advance` adds."""

    def __init__(self, speed: float = 1.0, *, real: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._real = real
        self._start = real()
        self._advanced = 0.0

    def now(self) -> float:
        """Return the simulated second."""
        return (self._real() - self._start) * self._speed + self._advanced

    def advance(self, seconds: float) -> None:
        """Move forward at once. Raises `ValueError` unless `seconds` is finite and 0 or more."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be a finite number, 0 or more, not {seconds}")
        self._advanced += seconds


class Conversations(Mapping[str | UUID, ConversationView]):
    """The conversations by id, oldest first, each as of its look-up. An id is a UUID, or text in either case."""

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock

    def __getitem__(self, conversation_id: str | UUID) -> ConversationView:
        now = self._clock.now()
        try:
            return self._world.find(conversation_id, now).view(now)
        except UnknownConversationError as error:
            raise KeyError(conversation_id) from error

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._world.conversations))

    def __len__(self) -> int:
        return len(self._world.conversations)


class Operations:
    """Time, participants, faults and observation of a simulator."""

    def __init__(self, settings: Settings) -> None:
        # Each part draws from a generator of its own, all from one seed.
        rng = Random(settings.seed)  # noqa: S311 - a simulation, not cryptography
        faults_rng, storage_rng = (Random(rng.getrandbits(64)) for _ in range(2))  # noqa: S311 - as above
        self._clock = Clock(settings.speed)
        self._world = World(settings, rng)
        self._storage = Storage(
            storage_rng, url_lifetime=settings.signed_url_lifetime, ranges=settings.recording_ranges
        )
        self._journal = Journal(
            keep=settings.requests_kept, time_passes=settings.speed > 0, conversations=self._world.conversations
        )
        self._faults = FaultBook(faults_rng, self._journal.change)
        self.conversations: Mapping[str | UUID, ConversationView] = Conversations(self._world, self._clock)
        """All conversations by id, oldest first, each as of the moment it is looked up."""

    # Time

    @property
    def now(self) -> float:
        """Simulated seconds since the simulator was made."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move the simulated clock forward at once."""
        self._clock.advance(seconds)
        self._journal.change()

    # Participants

    def join(self, conversation_id: str | UUID, *, client_ready: bool = True) -> ConversationView:
        """Let the participant join the room and, by default, say `client-ready`. Returns the conversation.

        It replaces the pretend participant and stays until `leave`.
        Raises `UnknownConversationError`, or `ConversationStateError` after the conversation's end.
        """
        return self._changed(self._world.join(conversation_id, self.now, client_ready=client_ready))

    def client_ready(self, conversation_id: str | UUID) -> ConversationView:
        """Let the participant say `client-ready`. Returns the conversation.

        Raises `ConversationStateError` unless it is in the room.
        """
        return self._changed(self._world.client_ready(conversation_id, self.now))

    def leave(self, conversation_id: str | UUID) -> ConversationView:
        """Let the participant leave, which ends the conversation. Does nothing if it has ended.

        Returns the conversation. Raises `ConversationStateError` if nobody has joined: use `end`.
        """
        return self._changed(self._world.leave(conversation_id, self.now))

    def end(
        self,
        conversation_id: str | UUID,
        *,
        reason: ConversationEnd
        | Literal[
            "user_left", "scenario_ended", "duration_limit_reached", "participant_join_timeout", "expired"
        ] = ConversationEnd.SCENARIO_ENDED,
    ) -> ConversationView:
        """End a conversation, by default as an ending node does, and return it. Does nothing if it has ended."""
        return self._changed(self._world.end(conversation_id, self.now, ConversationEnd(reason)))

    def _changed(self, conversation: Conversation) -> ConversationView:
        self._journal.change()
        return conversation.view(self.now)

    def participant(self, connection: HasSessionId) -> AbstractAsyncContextManager[None]:
        """Return a participant of a connection's conversation: it joins on entry and leaves on exit."""
        return self._participant(connection.conversation_session_id)

    @asynccontextmanager
    async def _participant(self, conversation_id: str | UUID) -> AsyncIterator[None]:
        self.join(conversation_id)
        try:
            yield
        finally:
            self.leave(conversation_id)

    # Faults

    def add_fault(self, fault: Fault) -> FaultHandle:
        """Add a fault. The handle removes it and counts its hits."""
        return self._faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[FaultHandle, ...]:
        """The faults in force, oldest first."""
        return self._faults.handles

    # Observation

    @property
    def requests(self) -> deque[SeenRequest]:
        """A copy of the latest requests to the API and the storage host, oldest first."""
        return self._journal.requests.copy()

    def count(self, route: Route | None = None, *, conversation_id: str | UUID | None = None) -> int:
        """Return the number of requests since the start: of one route, for one conversation, or all."""
        return self._journal.count(route, None if conversation_id is None else str(conversation_id).lower())

    async def wait_for_request(
        self,
        route: Route | None = None,
        *,
        count: int = 1,
        conversation_id: str | UUID | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        """Wait until `count` such requests were seen since the start.

        Raises `TimeoutError` after `timeout` real seconds (None: never).
        """
        await self.wait_until(lambda: self.count(route, conversation_id=conversation_id) >= count, timeout=timeout)

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float | None = 10.0) -> None:
        """Wait until a condition holds. Raises `TimeoutError` after `timeout` real seconds (None: never).

        It is checked after every request and every change, and every 10 real milliseconds unless `speed` is 0.
        """
        await self._journal.wait_until(condition, timeout)

    async def settle(
        self, *, conversation_id: str | UUID | None = None, timeout: float | None = SETTLE_TIMEOUT
    ) -> None:
        """Wait until every client has seen the last change, instead of sleeping for a guessed time.

            sim.advance(30)
            await sim.settle()
            assert session.bot_ready.is_set()

        Changes are the calls `advance`, `join`, `client_ready`, `leave` and `end`, and adding or removing a fault.
        Time that passes by itself (`speed` above 0) is not a change, nor is a fault that is spent. Changes after
        this call are not waited for.

        A conversation has settled when a poll (a request to its `/updates/`) was answered after the last change and
        the next poll has arrived, which proves that its client has processed the answer. Any answer counts, even
        one that a fault replaced, cut or dropped. Returns at once if all have settled since the last change.

        Polling ends with an answer that leaves nothing to ask: an update that reports the end (`after_end="text"`)
        or a refusal (3xx or 4xx, but not 408 or 429). No later poll proves that it was processed, so `settle`
        waits until it was sent and for 100 rounds of the event loop, enough for a client in the same loop. For a
        client in another process, wait for its own signal, such as `session.ended.wait()`.

        Every conversation counts from its connect on, even before its first poll. A client that stops without such
        an answer (its session was left, it gave up, its process died) cannot be told from a slow one and makes
        `settle` time out: then wait for the other conversations by id. Several clients of one conversation count
        as one.

        Args:
            conversation_id: wait for this conversation only; None: for all.
            timeout: real seconds, a guard against a hang; None: no limit. It must exceed two poll intervals of the
                client. Tests poll often: `PollPolicy(interval=0.01, live_interval=0.01)`.

        Raises `TimeoutError` naming a conversation that has not settled and why, or `UnknownConversationError`.
        Can be cancelled at any time.
        """
        identifier = None if conversation_id is None else self._world.find(conversation_id, self.now).id
        await self._journal.settle(identifier, timeout)

    @property
    def open_conversations(self) -> int:
        """The number of open conversations, each of which holds a slot."""
        return self._world.open_count(self.now)

    @property
    def leaked_credentials(self) -> int:
        """The number of requests with an `Authorization` header to the storage host: must be 0."""
        return self._storage.leaked_credentials

    def statistics(self) -> Statistics:
        """Return the account in numbers."""
        return self._world.statistics(self.now)
