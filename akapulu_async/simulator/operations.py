"""Operations: what a test does with a running simulator, in the same process."""

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Literal, Protocol
from uuid import UUID

from akapulu_async.simulator.conversation import ConversationEnd, ConversationView
from akapulu_async.simulator.faults import Fault, FaultBook, FaultHandle
from akapulu_async.simulator.journal import Journal, SeenRequest
from akapulu_async.simulator.requests import Route
from akapulu_async.simulator.settings import Settings
from akapulu_async.simulator.storage import Storage
from akapulu_async.simulator.world import Statistics, UnknownConversationError, World

__all__ = ["SETTLE_TIMEOUT", "HasSessionId", "Operations"]

SETTLE_TIMEOUT = 20.0  # real seconds: more than two polls of a client that polls every 5 s


class HasSessionId(Protocol):
    """Anything that knows its conversation, such as the client's connection."""

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

    def join(self, conversation_id: str | UUID, *, client_ready: bool = True) -> None:
        """Let the participant join the room, and say `client-ready` unless told otherwise.

        It takes the pretend participant's place and stays until it leaves.
        Raises `UnknownConversationError`, or `ConversationStateError` after the conversation's end.
        """
        self._world.join(conversation_id, self.now, client_ready=client_ready)
        self._journal.change()

    def client_ready(self, conversation_id: str | UUID) -> None:
        """Let the participant say `client-ready`.

        Raises `ConversationStateError` unless it is in the room.
        """
        self._world.client_ready(conversation_id, self.now)
        self._journal.change()

    def leave(self, conversation_id: str | UUID) -> None:
        """Let the participant leave, which ends the conversation; nothing happens if it has ended.

        Raises `ConversationStateError` if nobody has joined: `end` ends such a one.
        """
        self._world.leave(conversation_id, self.now)
        self._journal.change()

    def end(
        self,
        conversation_id: str | UUID,
        *,
        reason: ConversationEnd
        | Literal[
            "user_left", "scenario_ended", "duration_limit_reached", "participant_join_timeout", "expired"
        ] = ConversationEnd.SCENARIO_ENDED,
    ) -> None:
        """End a conversation, by default as an ending node does; nothing happens if it has ended."""
        self._world.end(conversation_id, self.now, ConversationEnd(reason))
        self._journal.change()

    def participant(self, connection: HasSessionId) -> AbstractAsyncContextManager[None]:
        """Return a participant of a connection's conversation: entered, it joins; left, it leaves."""
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
        """Put a fault in force; the handle takes it out again and counts its hits."""
        return self._faults.add(fault)

    def clear_faults(self) -> None:
        """Take all faults out of force."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[FaultHandle, ...]:
        """The faults in force, the oldest first."""
        return self._faults.handles

    # Observation

    @property
    def requests(self) -> deque[SeenRequest]:
        """The latest requests to the API and the storage host, the oldest first; a copy."""
        return self._journal.requests.copy()

    def count(self, route: Route | None = None, *, conversation_id: str | UUID | None = None) -> int:
        """Return how many requests were seen since the start: of one route, for one conversation, or all."""
        return self._journal.count(route, None if conversation_id is None else str(conversation_id).lower())

    async def wait_for_request(
        self,
        route: Route | None = None,
        *,
        count: int = 1,
        conversation_id: str | UUID | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        """Wait until so many such requests were seen since the start.

        Raises `TimeoutError` after `timeout` real seconds; None waits for ever.
        """
        await self.wait_until(lambda: self.count(route, conversation_id=conversation_id) >= count, timeout=timeout)

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float | None = 10.0) -> None:
        """Wait until a condition holds; raises `TimeoutError` after `timeout` real seconds.

        It is looked at after every request and every call that changes something, and unless the clock stands
        still (`speed=0`) every 10 real milliseconds.
        """
        await self._journal.wait_until(condition, timeout)

    async def settle(
        self, *, conversation_id: str | UUID | None = None, timeout: float | None = SETTLE_TIMEOUT
    ) -> None:
        """Wait until every client has seen the last change, instead of sleeping for a guessed time.

            sim.advance(30)
            await sim.settle()
            assert session.bot_ready.is_set()

        A change is a call that alters what polls are answered: `advance`, `join`, `client_ready`, `leave`, `end`,
        and adding or removing a fault. Time that passes by itself (`speed` above 0) is none, nor is a fault that
        is spent. Only changes before this call count.

        A conversation has settled once a poll (a request to its `/updates/`) was answered after the last change
        and the next poll has arrived: a client polls again when it has processed the answer before. Each answer
        counts, whatever a fault makes of it. If nothing changed since, it has settled already.

        The end of polling is seen by an answer after which a client has no reason to ask again: an update that
        tells the end (`after_end="text"`) or a refusal (404, 410, 401, ...; not 408 or 429). No poll can prove that
        it was processed. `settle` returns once it was sent and the event loop has gone round a hundred times, which
        is enough for a client in the same loop; a client in another process needs a wait of its own, such as
        `session.ended.wait()`.

        All conversations count from their connect on, before the first poll too. A client that stops without such
        an answer (its session was left, it gave up, its process died) looks like one that polls slowly: it lets
        `settle` time out. Then wait for the others one by one. Two clients of one conversation count as one.

        Args:
            conversation_id: wait for this conversation only; None: for all.
            timeout: real seconds, a guard against waiting forever; None: no limit. Two poll intervals must fit in:
                let clients in tests poll often, as `PollPolicy(interval=0.01, live_interval=0.01)` does.

        Raises `TimeoutError` naming a conversation that has not settled and why, or `UnknownConversationError`.
        Can be cancelled at any time.
        """
        identifier = None if conversation_id is None else self._world.find(conversation_id, self.now).id
        await self._journal.settle(identifier, timeout)

    @property
    def open_conversations(self) -> int:
        """How many conversations hold a slot."""
        return self._world.open_count(self.now)

    @property
    def leaked_credentials(self) -> int:
        """How many requests brought an `Authorization` header to the storage host: must be 0."""
        return self._storage.leaked_credentials

    def statistics(self) -> Statistics:
        """Return the account in numbers, the peak of concurrency among them."""
        return self._world.statistics(self.now)
