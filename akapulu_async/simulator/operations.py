"""Operations: what a test does with a running simulator, in the same process."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol
from uuid import UUID

from akapulu_async.simulator.conversation import ConversationView, EndReason
from akapulu_async.simulator.faults import Fault, FaultHandle
from akapulu_async.simulator.journal import SeenRequest
from akapulu_async.simulator.parts import Parts
from akapulu_async.simulator.routing import Route
from akapulu_async.simulator.views import Views
from akapulu_async.simulator.world import Statistics

__all__ = ["HasSessionId", "Operations"]


class HasSessionId(Protocol):
    """Anything that knows its conversation, such as the client's connection."""

    @property
    def conversation_session_id(self) -> str | UUID:
        """The conversation's id."""


class Operations:
    """Time, participants, faults and observation of a simulator."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # Time

    @property
    def now(self) -> float:
        """Simulated seconds since the simulator was made."""
        return self._parts.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the simulated clock forward at once."""
        self._parts.clock.advance(seconds)
        self._parts.journal.wake()

    # Participants

    def join(self, conversation_id: str | UUID, *, client_ready: bool = True) -> None:
        """Let the participant join the room, and say `client-ready` unless told otherwise.

        It takes the pretend participant's place and stays until it leaves.
        Raises `UnknownConversationError`, or `ConversationStateError` after the conversation's end.
        """
        self._parts.world.join(conversation_id, self.now, client_ready=client_ready)
        self._parts.journal.wake()

    def client_ready(self, conversation_id: str | UUID) -> None:
        """Let the participant say `client-ready`.

        Raises `ConversationStateError` unless it is in the room.
        """
        self._parts.world.client_ready(conversation_id, self.now)
        self._parts.journal.wake()

    def leave(self, conversation_id: str | UUID) -> None:
        """Let the participant leave, which ends the conversation; nothing happens if it has ended.

        Raises `ConversationStateError` if nobody has joined: `end` ends such a one.
        """
        self._parts.world.leave(conversation_id, self.now)
        self._parts.journal.wake()

    def end(
        self,
        conversation_id: str | UUID,
        *,
        reason: EndReason
        | Literal[
            "user_left", "scenario_ended", "duration_limit_reached", "participant_join_timeout", "expired"
        ] = EndReason.SCENARIO_ENDED,
    ) -> None:
        """End a conversation, by default as an ending node does; nothing happens if it has ended."""
        self._parts.world.end(conversation_id, self.now, EndReason(reason))
        self._parts.journal.wake()

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
        return self._parts.faults.add(fault)

    def clear_faults(self) -> None:
        """Take all faults out of force."""
        self._parts.faults.clear()

    @property
    def faults(self) -> tuple[FaultHandle, ...]:
        """The faults in force, the oldest first."""
        return self._parts.faults.handles

    # Observation

    @property
    def requests(self) -> deque[SeenRequest]:
        """The latest requests to the API and the storage host, the oldest first; a copy."""
        return self._parts.journal.requests.copy()

    def count(self, route: Route | None = None, *, conversation_id: str | UUID | None = None) -> int:
        """Return how many requests were seen since the start: of one route, for one conversation, or all."""
        return self._parts.journal.count(route, None if conversation_id is None else str(conversation_id).lower())

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
        await self._parts.journal.wait_until(condition, timeout)

    @property
    def conversations(self) -> Mapping[str | UUID, ConversationView]:
        """All conversations by id, the oldest first, each as of the moment it is looked up."""
        return Views(self._parts.world, self._parts.clock)

    @property
    def open_conversations(self) -> int:
        """How many conversations hold a slot."""
        return self._parts.world.open_count(self.now)

    @property
    def leaked_credentials(self) -> int:
        """How many requests brought an `Authorization` header to the storage host: must be 0."""
        return self._parts.storage.leaked_credentials

    def statistics(self) -> Statistics:
        """Return the account in numbers, the peak of concurrency among them."""
        return self._parts.world.statistics(self.now)
