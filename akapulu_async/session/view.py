"""The reading side of a session: its state, its events and waits for them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Self

import attrs

from akapulu_async.checks import check_patience, shown
from akapulu_async.errors import ClosedError, ConfigurationError, SessionEndedError, WaitTimeoutError
from akapulu_async.limits import patience
from akapulu_async.models.connection import Connection
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, Progress, SessionEvent, SessionState
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.secret import Secret, excerpt
from akapulu_async.session.event_log import EventLog, Watcher


@attrs.frozen
class StateEvent:
    """A state of a session to wait for. Like an `asyncio.Event` that is set once and stays set."""

    _session: "SessionView"
    _state: SessionState

    def __bool__(self) -> bool:
        raise TypeError(f"a StateEvent has no truth value; use session.{self._state}.is_set()")

    def is_set(self) -> bool:
        """Return True if the state was entered, even if the session has left it since."""
        return self._session.elapsed(self._state) is not None

    async def wait(self) -> None:
        """Wait until the state is entered. Cancelling the wait does not affect the session.

        Raises:
            SessionEndedError: The session ended without entering it.
        """
        await self._session.wait_for(self._state)


class SessionView:
    """The reading side of a session. Any number of tasks may use it without slowing each other or the polling."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._event_log = EventLog()
        self._end_callbacks: list[Callable[[], object]] = []
        self._connection: Connection | None = None
        self._connected_after: float | None = None

    @property
    def id(self) -> str:
        """The conversation's id.

        Raises:
            ClosedError: Its connect was not answered (yet).
        """
        if self._lifecycle.session_id is None:
            raise ClosedError(
                "the session is not connected yet: enter it with `async with`, or wait until its connect is answered"
            )
        return self._lifecycle.session_id

    @property
    def state(self) -> SessionState:
        """The current state; `connecting` before the session is entered, too."""
        return self._lifecycle.state

    @property
    def end_reason(self) -> EndReason | None:
        """Why it ended; None while it has not."""
        return self._lifecycle.end_reason

    @property
    def cause(self) -> BaseException | None:
        """The error that ended it; None if none did."""
        return self._lifecycle.cause

    @property
    def progress(self) -> Progress:
        """How far the bot has come in getting ready."""
        return self._lifecycle.progress

    @property
    def polls(self) -> int:
        """How many polls were completed, successful or not."""
        return self._lifecycle.polls

    @property
    def poll_failures(self) -> int:
        """How many of the polls failed."""
        return self._lifecycle.poll_failures

    @property
    def connection(self) -> Connection:
        """The room's URL and token.

        Raises:
            ClosedError: The session is not connected yet, or was connected elsewhere.
        """
        if self._connection is None:
            raise ClosedError("room and token are known only to the session that connected the conversation")
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
        """Seconds from the connect to its answer; None if it was not answered, or the session is attached."""
        return self._connected_after

    @property
    def time_to_room(self) -> float | None:
        """Seconds from the connect to `room_joined`; None if it was not entered."""
        return self.elapsed(SessionState.ROOM_JOINED)

    @property
    def time_to_ready(self) -> float | None:
        """Seconds from the connect to `bot_ready`; None if it was not entered."""
        return self.elapsed(SessionState.BOT_READY)

    def elapsed(self, state: SessionState) -> float | None:
        """Return the seconds from the connect to a state; None if it was not entered.

        Where a connect was refused because the account was full and sent again, they count from its last try.
        """
        return self._lifecycle.elapsed(state)

    def entered_at(self, state: SessionState) -> datetime | None:
        """Return when a state was entered, in UTC; None if it was not."""
        return self._lifecycle.entered_at(state)

    def snapshot(self) -> SessionSnapshot:
        """Return a snapshot for `client.attach()` in another process: serialisable, without secrets.

        Raises:
            ClosedError: The session is not connected yet.
        """
        return SessionSnapshot.of(self._lifecycle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._lifecycle.session_id} {self.state}>"

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
            state: A `SessionState`, or its text.
            timeout: Seconds to wait at most; None for no limit. The session continues after a timeout.

        Raises:
            SessionEndedError: The session ended without entering it; `__cause__` is the error that ended it, if any.
            WaitTimeoutError: It was not entered in time (also a `TimeoutError`).
            ConfigurationError: There is no such state.

        Cancelling the wait does not affect the session.
        """
        state = _checked_state(state)
        check_patience("timeout", timeout)
        with suppress(TimeoutError), patience(timeout):
            return await self._reached(state)
        raise WaitTimeoutError(
            session_id=self._lifecycle.session_id,
            awaited=state,
            state=self.state,
            timeout=timeout or 0.0,
            progress=f"{self.progress.percent:.0f} % {excerpt(self.progress.text, self._secrets)}".rstrip(),
        )

    def events(self) -> AsyncIterator[SessionEvent]:
        """Return an iterator over all events, past and future: `StateChanged`, `ProgressChanged`.

        It starts from the first event, runs at its reader's pace, and closes after the `ended` event. If the session
        failed (`EndReason.FAILED`), it raises `SessionEndedError` instead of closing, so that no failure looks like
        a clean end; for an unknown end (`EndReason.UNKNOWN`), it closes. It may be called before the session is
        entered. All state changes are kept, and the latest 512 to 1,024 progress events.
        """
        return Watcher(self._event_log, self._is_over)

    def ready(self) -> AbstractAsyncContextManager[Self]:
        """Return a context that runs while the bot is ready, in one task: `phase(SessionState.BOT_READY)`."""
        return self.phase(SessionState.BOT_READY)

    @asynccontextmanager
    async def phase(self, state: SessionState) -> AsyncGenerator[Self]:
        """Return a context that waits for a state, runs the block, and cancels the block when the session ends.

        The cancel comes once, as that of `asyncio.timeout()`. The block belongs to the task that enters it: leave it
        there, and do not `yield` inside it in an async generator, since the cancel would hit the generator's consumer.

        Raises:
            SessionEndedError: The session ended before it entered the state, or before the block was left, even if the
                block ignored the cancel. Not if the block ended the session itself, which does not cancel it. A cancel
                from elsewhere and other errors of the block are raised unchanged.
            ClosedError: The session is not open, or the block was left in another task.
            ConfigurationError: There is no such state.
        """
        state = _checked_state(state)
        await self._reached(state)
        if state is not SessionState.ENDED and self.end_reason is not None:
            raise self._ended_error()
        async with _CancelledBlock(self._ended_error) as block:
            self._end_callbacks.append(block.cancel)
            try:
                yield self
            finally:
                self._end_callbacks.remove(block.cancel)

    def _because(self) -> str:
        if self.cause is not None:
            because = str(self.cause)
        elif self.end_reason is EndReason.FAILED:
            when = "" if self._lifecycle.ready else " before the bot was ready"
            because = f"The service reported the end{when}; its last status text: {self.progress.text or 'none'}"
        elif self._lifecycle.outlived:
            because = "It was followed for the session's max_duration, and may continue"
        else:
            return ""
        # Errors of a participant or of a user's signals may quote the token, and so may the service's text.
        return excerpt(because, self._secrets, limit=1000)

    @property
    def _secrets(self) -> tuple[Secret, ...]:
        return () if self._connection is None else (self._connection.token,)

    async def _reached(self, state: SessionState) -> None:
        if self._lifecycle.began_at is None:
            raise ClosedError("the session is not open: enter it with `async with session:` before waiting for it")
        while self.elapsed(state) is None:
            if self.end_reason is not None:
                raise self._ended_error()
            await self._event_log.news()

    def _is_over(self) -> bool:
        if self._lifecycle.end_reason is EndReason.FAILED:
            raise self._ended_error()
        return self._lifecycle.end_reason is not None

    def _ended_error(self) -> SessionEndedError:
        error = SessionEndedError(
            reason=self.end_reason or EndReason.FAILED, session_id=self._lifecycle.session_id, because=self._because()
        )
        error.__cause__ = self.cause
        return error


class _CancelledBlock:
    """A block that can be cancelled, and then ends in an error. Counts cancels as `asyncio.timeout()` does."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error
        self._edge: asyncio.Handle | None = None
        self._struck = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._edge is not None:
            self._edge.cancel()
        ours = self._struck and self._task.uncancel() <= self._before
        if isinstance(error, asyncio.CancelledError) and not ours:
            return
        if self._task is not asyncio.current_task():
            raise ClosedError(
                "a block of ready() or phase() must be left in the task that entered it; do not yield inside it in an "
                "async generator"
            )
        # GeneratorExit: the cancel hit the consumer of an async generator, which is closed for that.
        if self._edge if error is None else ours and isinstance(error, asyncio.CancelledError | GeneratorExit):
            raise self._error()

    def cancel(self) -> None:
        """Cancel the block, once, unless its own task does this: it ends the session itself."""
        if asyncio.current_task() is not self._task:
            self._edge = asyncio.get_running_loop().call_soon(self._strike)

    def _strike(self) -> None:
        self._struck = self._task.cancel()


def _checked_state(state: str) -> SessionState:
    try:
        return SessionState(state)
    except ValueError:
        states = ", ".join(repr(each.value) for each in SessionState)
        raise ConfigurationError(f"state must be one of {states}, not {shown(state)}") from None
