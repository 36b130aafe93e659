"""The session's own participant: joins the room, stays until the session ends, and leaves."""

import asyncio
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from akapulu_async.models.connection import Connection
from akapulu_async.session.settings import Participant
from akapulu_async.tasks import PASSED_ON, enter_user_code, retrieve


@runtime_checkable
class ReportingParticipant(Protocol):
    """A participant whose `async with` value reports what it sees in the room."""

    def report_to(self, attendance: "Attendance") -> None:
        """Called once, in the room. Report with `joined()`, `bot_ready()` and `left()`, from the event loop."""


class Attendance:
    """Holds the participant's context open in a task of its own, and passes its reports to the session.

    `on_left` is called when the participant left, or reports the end, with the error that ended it or None.
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
        self.joined = on_joined
        """Report that somebody joined the room. Entering the participant's context reports this by itself."""
        self.bot_ready = on_bot_ready
        """Report that the bot said it is ready: the session polls at once. Only `call_is_ready` makes it ready."""
        self._on_left = on_left
        self._over = asyncio.Event()
        name = f"akapulu participant {connection.conversation_session_id}"
        self.task = asyncio.get_running_loop().create_task(self._attend(participant, connection), name=name)
        self.task.add_done_callback(retrieve)  # `on_left` got it

    def leave(self) -> None:
        """Leave the room; if the participant is still joining, cancel it."""
        self._over.set()
        if not self.entered:
            self.task.cancel()

    def left(self) -> None:
        """Report that the bot left, or the room closed: the conversation is over."""
        self._on_left(None)

    async def _attend(self, participant: Participant, connection: Connection) -> None:
        enter_user_code()
        try:
            async with participant(connection) as self.value:
                self.entered = True
                self.joined()
                if isinstance(self.value, ReportingParticipant):
                    self.value.report_to(self)
                await self._over.wait()
        except BaseException as error:
            self._on_left(error)
            if isinstance(error, PASSED_ON):
                raise
        else:
            self._on_left(None)
        finally:
            self.value = None
