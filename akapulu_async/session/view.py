"""What can be seen of a session, and waited for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Self

import anyio
import attrs

from akapulu_async.checks import check_patience
from akapulu_async.errors import ConfigurationError, SessionEndedError, WaitTimeoutError
from akapulu_async.models.connection import Connection
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, Progress, SessionEvent, SessionState
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.secret import Secret, excerpt
from akapulu_async.session.event_log import EventLog, Watcher


@attrs.frozen
class StateEvent:
    """One state of a session, to be waited for. Like `asyncio.Event`, set once and for ever."""

    _session: "SessionView"
    _state: SessionState

    def is_set(self) -> bool:
        """Whether the state was entered, be it left again or not."""
        return self._session.elapsed(self._state) is not None

    async def wait(self) -> None:
        """Wait until the state is entered. Can be cancelled; that ends nothing.

        Raises:
            SessionEndedError: The conversation ended without it.
        """
        await self._session.wait_for(self._state)


class SessionView:
    """The side of a session that any number of tasks may use at once, without slowing each other or the polling."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._log = EventLog()
        self._over = False
        self._end_callbacks: list[Callable[[], object]] = []
        self._connection: Connection | None = None
        self._connected_after: float | None = None
        self._polls = 0
        self._poll_failures = 0

    # What is known.

    @property
    def id(self) -> str:
        """The conversation's id.

        Raises:
            ConfigurationError: Its connect was not answered yet, or never.
        """
        return self._require_id()

    @property
    def state(self) -> SessionState:
        """The state; `connecting` also before the session is entered."""
        return self._lifecycle.state

    @property
    def end_reason(self) -> EndReason | None:
        """Why it ended; None if it did not."""
        return self._lifecycle.end_reason

    @property
    def cause(self) -> BaseException | None:
        """The error that ended it; None if none did."""
        return self._lifecycle.cause

    @property
    def progress(self) -> Progress:
        """How far the bot's getting ready has come."""
        return self._lifecycle.progress

    @property
    def polls(self) -> int:
        """How many polls were completed, answered or failed."""
        return self._polls

    @property
    def poll_failures(self) -> int:
        """How many of the polls failed."""
        return self._poll_failures

    @property
    def connection(self) -> Connection:
        """The way into the room.

        Raises:
            ConfigurationError: It is not connected yet; or it was connected elsewhere, and only there it is known.
        """
        if self._connection is None:
            raise ConfigurationError("the way into the room is known only where the conversation was connected")
        return self._connection

    @property
    def room_url(self) -> str:
        """See `Connection.room_url`."""
        return self.connection.room_url

    @property
    def token(self) -> Secret:
        """See `Connection.token`."""
        return self.connection.token

    @property
    def join_url(self) -> str:
        """See `Connection.join_url`. It contains the token."""
        return self.connection.join_url

    @property
    def time_to_connection(self) -> float | None:
        """Seconds that the connect took; None if it was not answered, or elsewhere."""
        return self._connected_after

    @property
    def time_to_room(self) -> float | None:
        """Seconds from the connect's sending to `room_joined`; None if that did not come yet."""
        return self.elapsed(SessionState.ROOM_JOINED)

    @property
    def time_to_ready(self) -> float | None:
        """Seconds from the connect's sending to `bot_ready`; None if that did not come yet."""
        return self.elapsed(SessionState.BOT_READY)

    def elapsed(self, state: SessionState) -> float | None:
        """Return how many seconds after the connect's sending a state was entered; None if it was not."""
        return self._lifecycle.elapsed(state)

    def entered_at(self, state: SessionState) -> datetime | None:
        """Return when a state was entered, in UTC; None if it was not."""
        return self._lifecycle.entered_at(state)

    def snapshot(self) -> SessionSnapshot:
        """Return what another worker needs to `client.attach()`: serialisable, without secrets.

        Raises:
            ConfigurationError: It is not connected yet.
        """
        return SessionSnapshot.of(self._lifecycle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._lifecycle.session_id} {self.state}>"

    # Waiting and watching.

    @property
    def room_joined(self) -> StateEvent:
        """Set when the session enters `room_joined`."""
        return StateEvent(self, SessionState.ROOM_JOINED)

    @property
    def bot_ready(self) -> StateEvent:
        """Set when the session enters `bot_ready`."""
        return StateEvent(self, SessionState.BOT_READY)

    @property
    def ended(self) -> StateEvent:
        """Set when the session enters `ended`."""
        return StateEvent(self, SessionState.ENDED)

    async def wait_for(self, state: SessionState, *, timeout: float | None = None) -> None:
        """Wait until a state is entered; return at once if it was.

        Args:
            state: What to wait for.
            timeout: Seconds to wait at the most; None for no limit. It is the caller's patience: it ends nothing.

        Raises:
            SessionEndedError: The conversation ended without it; `__cause__` is the error that ended it, if one did.
            WaitTimeoutError: It was not entered in time (also a `TimeoutError`).

        Can be cancelled; that ends nothing.
        """
        check_patience("timeout", timeout)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._reached(state)
        raise WaitTimeoutError(
            session_id=self._lifecycle.session_id,
            awaited=state,
            state=self.state,
            timeout=timeout or 0.0,
            progress=f"{self.progress.percent:.0f} % {excerpt(self.progress.text, self._secrets)}".rstrip(),
        )

    def events(self) -> AsyncIterator[SessionEvent]:
        """Return an iterator over all that happened and happens: `StateChanged`, `ProgressChanged`.

        It begins at the beginning, goes at its reader's pace, and closes after `ended` was told. If the session failed
        (`EndReason.FAILED`), it raises a `SessionEndedError` there instead of closing, so that a failure never looks
        like a clean end. It may be taken before the session is entered. All changes of state are kept, and the latest
        512 to 1,024 of progress.
        """
        return Watcher(self._log, self._is_over)

    def ready(self) -> AbstractAsyncContextManager[Self]:
        """Return a context for what needs the bot: see `phase()`."""
        return self.phase(SessionState.BOT_READY)

    @asynccontextmanager
    async def phase(self, state: SessionState) -> AsyncGenerator[Self]:
        """Wait for a state, run the block, and cancel it when the conversation ends.

        Raises:
            SessionEndedError: The conversation ended before the state came, or before the block did.
        """
        await self._reached(state)
        if state is not SessionState.ENDED and self._over:
            raise self._ended_error()
        with anyio.CancelScope() as scope:
            self._end_callbacks.append(scope.cancel)
            try:
                yield self
            finally:
                self._end_callbacks.remove(scope.cancel)
        if scope.cancelled_caught:
            raise self._ended_error()

    def _require_id(self) -> str:
        if self._lifecycle.session_id is None:
            raise ConfigurationError(
                "the session is not connected yet: enter it with `async with`, or wait until its connect is answered"
            )
        return self._lifecycle.session_id

    def _because(self) -> str:
        if self.cause is not None:
            because = str(self.cause)
        elif self.end_reason is EndReason.FAILED:
            over = "It was over" if self._lifecycle.ready else "It was over before the bot was ready"
            because = f"{over}; the service's last words: {self.progress.text or 'none'}"
        else:
            return ""
        # What a participant or a user's own signals raise may quote the token, and so may what the service says.
        return excerpt(because, self._secrets, limit=1000)

    @property
    def _secrets(self) -> tuple[Secret, ...]:
        return () if self._connection is None else (self._connection.token,)

    async def _reached(self, state: SessionState) -> None:
        if self._lifecycle.began_at is None:
            raise ConfigurationError("nothing can come before the session is entered: use `async with session:`")
        while True:
            if self.elapsed(state) is not None:
                return
            if self._over:
                raise self._ended_error()
            await self._log.news()

    def _is_over(self) -> bool:
        if self._over and self.end_reason is EndReason.FAILED:
            raise self._ended_error()
        return self._over

    def _ended_error(self) -> SessionEndedError:
        error = SessionEndedError(
            reason=self.end_reason or EndReason.FAILED, session_id=self._lifecycle.session_id, because=self._because()
        )
        error.__cause__ = self.cause
        return error
