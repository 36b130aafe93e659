"""The session's own participant: joins the room, stays until the session ends, and leaves."""

import asyncio
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from akapulu_async.models.connection import Connection
from akapulu_async.session.settings import Participant


class RoomReports(Protocol):
    """What a participant may report to its session, from the event loop."""

    def joined(self) -> None:
        """Somebody joined the room. Entering the participant's context reports this by itself."""

    def bot_ready(self) -> None:
        """The bot said in the room that it is ready. The session polls at once; only `call_is_ready` makes it ready."""

    def left(self) -> None:
        """The bot left the room, or the room closed: the conversation is over."""


@runtime_checkable
class ReportingParticipant(Protocol):
    """A participant whose `async with` value reports what it sees in the room."""

    def report_to(self, reports: RoomReports) -> None:
        """Called once, when the participant is in the room."""


class Attendance:
    """Holds the participant's context open in a task of its own, and receives its reports (`RoomReports`).

    Args:
        participant: Makes the context manager.
        connection: Passed to the participant.
        on_joined: Called when the participant is in the room.
        on_bot_ready: Called when the participant reports that the bot is ready.
        on_left: Called when the participant left, or reports the end, with the error that ended it or None.
    """

    def __init__(
        self,
        participant: Participant,
        connection: Connection,
        *,
        on_joined: Callable[[], object],
        on_bot_ready: Callable[[], object],
        on_left: Callable[[BaseException | None], object],
    ) -> None:
        self.value: object | None = None
        """The value of the participant's `async with` while it is in the room."""
        self.entered = False
        """True once the participant has joined."""
        self._on_joined = on_joined
        self._on_bot_ready = on_bot_ready
        self._on_left = on_left
        self._over = asyncio.Event()
        name = f"akapulu participant {connection.conversation_session_id}"
        self.task = asyncio.get_running_loop().create_task(self._attend(participant, connection), name=name)

    def leave(self) -> None:
        """Leave the room; if the participant is still joining, cancel it."""
        self._over.set()
        if not self.entered:
            self.task.cancel()

    def joined(self) -> None:
        """See `RoomReports`."""
        self._on_joined()

    def bot_ready(self) -> None:
        """See `RoomReports`."""
        self._on_bot_ready()

    def left(self) -> None:
        """See `RoomReports`."""
        self._on_left(None)

    async def _attend(self, participant: Participant, connection: Connection) -> None:
        try:
            async with participant(connection) as self.value:
                self.entered = True
                self._on_joined()
                if isinstance(self.value, ReportingParticipant):
                    self.value.report_to(self)
                await self._over.wait()
        except BaseException as error:
            self._on_left(error)
            if not isinstance(error, Exception):
                raise
        else:
            self._on_left(None)
        finally:
            self.value = None
