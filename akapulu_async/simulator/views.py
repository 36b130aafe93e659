"""Views of all conversations, as of the moment each is looked at."""

from collections.abc import Iterator, Mapping
from uuid import UUID

from akapulu_async.simulator.clock import Clock
from akapulu_async.simulator.conversation import ConversationView
from akapulu_async.simulator.world import UnknownConversationError, World

__all__ = ["Views"]


class Views(Mapping[str | UUID, ConversationView]):
    """The conversations by id, the oldest first. An id is taken as text in either case or as a UUID."""

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
