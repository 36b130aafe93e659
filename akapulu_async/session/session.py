"""A conversation from its connect to its end, as one object."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Container, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from akapulu_async.errors import AkapuluError, ClosedError, ConcurrencyLimitError
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.log import logger
from akapulu_async.models.connection import Connection, ConnectRequest
from akapulu_async.models.conversation import ConversationDetail, ConversationUpdate
from akapulu_async.resources.conversations import Conversations
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionEvent, SessionState
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.secret import excerpt
from akapulu_async.session.attendance import Attendance
from akapulu_async.session.settings import SessionSettings
from akapulu_async.session.view import SessionView
from akapulu_async.tasks import PASSED_ON, callers, retrieve, settle

LATE_LOOP = 0.02
"""Seconds by which a timer is late if the event loop was blocked."""

LATE_POLL = 5.0
"""Seconds that a poll may take if `ready_timeout` passed while the event loop was blocked."""

_Poll = Callable[[], Coroutine[Any, Any, ConversationUpdate]]

LEAVE_GRACE = 5.0
"""Seconds that a participant may take to leave the room before it is cancelled."""


class ConversationSession(SessionView):
    """A conversation, from its connect to its end. Create it with `client.session()` or `client.attach()`.

    ::

        async with client.session(request) as session:
            await session.bot_ready.wait()

    Entering connects. Leaving ends the session, however the block is left: its participant leaves the room, which ends
    the conversation, and polling stops. No call of the service ends a conversation [documented]: without a participant
    it continues, and costs minutes, until its user leaves or a limit is reached. The end of the conversation does not
    cancel the block; `ready()` and `phase()` do that.

    Any number of tasks may watch and wait at once, without slowing each other or the polling. Every wait ends: with
    the state, or with a `SessionEndedError` that has reason and cause.

    If the connect fails, entering raises the errors of `Conversations.connect()`. If entering is cancelled, it waits
    for the connect's answer, up to five seconds, so that the conversation is known: a note on the `CancelledError` and
    a warning in the log name it.

    Entering an attached session sends the first poll. If only the id is known and the service knows no such
    conversation, or says that it is over (404, 410), entering raises `NotFoundError`. Any other failure of that poll
    counts like that of a later one.
    """

    # Not the loop's time: uvloop's has whole milliseconds and is read once an iteration.
    _now = staticmethod(time.monotonic)
    _wall_clock = staticmethod(partial(datetime.now, UTC))

    def __init__(
        self,
        conversations: Conversations,
        start: ConnectRequest | SessionSnapshot | str,
        settings: SessionSettings,
        *,
        listener: Callable[[list[SessionEvent]], object] | None = None,
        try_again: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Called by `client.session()`, `client.attach()` and the manager.

        `listener` is called with events as they happen; its owner closes the session. `try_again` is awaited when the
        account is full: it returns True once the connect may be sent again.
        """
        self._max_duration = settings.max_duration or math.inf
        super().__init__(Lifecycle(settings.signals, settings.poll.max_failures, self._wall_clock, self._max_duration))
        self._conversations = conversations
        self._start = start
        self._settings = settings
        self._listener = listener
        self._try_again = try_again
        self._poller: asyncio.Task[None] | None = None
        self._poll_due: asyncio.Future[None] | None = None
        self._attendance: Attendance | None = None
        self._closes: Callable[[], object] | None = None

    @property
    def participant(self) -> object | None:
        """The value of the participant's `async with` while it is in the room; None before, after, or without one."""
        return None if self._attendance is None else self._attendance.value

    async def detail(self) -> ConversationDetail:
        """See `Conversations.detail()`."""
        return await self._conversations.detail(self.id)

    def mark_room_joined(self) -> None:
        """Report that somebody joined the room, which the application may know before the service reports it.

        Raises:
            ClosedError: The session is not connected yet.
        """
        _ = self.id  # raises
        self._joined()

    async def end(self) -> None:
        """End the session (`EndReason.LEFT`) and wait until its participant left the room. May be called again.

        If the participant calls it, or a task of the participant's, it does not wait for the participant.
        """
        await self.close(EndReason.LEFT)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, _: object, error: object, __: object) -> None:
        await self.close(EndReason.CANCELLED if isinstance(error, asyncio.CancelledError) else EndReason.LEFT)

    async def open(self) -> None:
        """Connect or attach, and start polling: the entry of `async with`, for owners that call `close()` themselves.

        Raises the errors of `Conversations.connect()`, `NotFoundError` if there is no conversation to attach to, and
        `SessionEndedError` if the session was ended meanwhile.
        """
        if self._lifecycle.began_at is not None:
            raise ClosedError("a session can be entered once; create another with client.session() or client.attach()")
        if isinstance(self._start, ConnectRequest):
            await self._connect(self._start)
            if self.end_reason is not None:
                self._warn_of_orphan()
                raise self._ended_error()
        elif isinstance(self._start, SessionSnapshot):
            self._start.restore(self._lifecycle, self._now(), self._wall_clock())
        else:
            self._lifecycle.receive_attached(self._start, confirmed=False)
            self._lifecycle.receive_connecting(self._now())
        self._publish()
        if self.end_reason is None:
            await self._begin()

    async def _connect(self, request: ConnectRequest) -> None:
        try:
            while self._connection is None:
                self._lifecycle.receive_connecting(self._now())
                self._publish()
                try:
                    self._connected(await self._conversations.connect(request, on_late_answer=self._connected))
                except ConcurrencyLimitError:
                    if self.end_reason is not None or self._try_again is None or not await self._try_again():
                        raise
        except asyncio.CancelledError as error:
            self._finish(EndReason.CANCELLED)
            if self._connection is not None:
                self.name_on(error)
                self._warn_of_orphan()
            raise
        except BaseException as error:
            self._finish(EndReason.CONNECT_FAILED, error)
            raise

    def _connected(self, connection: Connection) -> None:
        self._connection = connection
        self._connected_after = self._now() - self._lifecycle.began
        self._lifecycle.receive_connected(connection.conversation_session_id)

    def name_on(self, error: BaseException) -> None:
        """Name the conversation in a note on an error, if it was connected."""
        if self._connection is not None:
            error.add_note(f"conversation {self.id} was connected meanwhile; it holds a slot until it ends")

    def _warn_of_orphan(self) -> None:
        self._log(
            logging.WARNING,
            "conversation %s was connected, but its session was cancelled or ended meanwhile; it holds a slot",
        )

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        poll, pause = self._conversations.poller(self.id), None
        if isinstance(self._start, str):
            pause = await self._attach(poll)
            if self.end_reason is not None:
                return
        if self._listener is None:
            self._closes = warn_unless_closed(self, "ConversationSession", "use `async with`, or end()")
        self._poller = loop.create_task(self._keep_polling(poll, pause), name=f"akapulu poll {self.id}")
        self._poller.add_done_callback(retrieve)  # the session's cause already
        if self._settings.participant is not None and self._connection is not None:
            self._attendance = Attendance(
                self._settings.participant,
                self._connection,
                on_joined=self._joined,
                on_bot_ready=self._poll_now,
                on_left=self._participant_left,
            )
        if self._settings.ready_timeout is not None:
            left = self._lifecycle.began + self._settings.ready_timeout - self._now()
            # A session attached too late may be ready all the same: the first poll decides.
            if left > 0:
                due = self._now() + left
                self._end_callbacks.append(loop.call_later(left, self._ready_timed_out, due).cancel)

    async def _attach(self, poll: _Poll) -> float:
        """Send the first poll. Returns how many seconds to wait before the next."""
        try:
            pause = await self._poll(poll)
        except asyncio.CancelledError:
            self._finish(EndReason.CANCELLED)
            raise
        except BaseException as error:
            self._finish(EndReason.FAILED, error)
            raise
        if self.end_reason is EndReason.UNKNOWN and self.cause is not None:
            raise self.cause
        if not self.polls:
            raise self._ended_error()
        return pause

    async def _keep_polling(self, poll: _Poll, pause: float | None) -> None:
        try:
            if pause is None:
                # A conversation that was just connected has no news; a restored one may be ready.
                pause = self._settings.poll.first_pause(self._settings.rng) if self._connection is not None else 0.0
            while self._lifecycle.end_reason is None:
                await self._pause(pause)
                pause = await self._poll(poll)
        except BaseException as error:
            # Whatever it is: nobody polls any more, and the watchers must learn that.
            self._finish(EndReason.FAILED, error)
            if isinstance(error, PASSED_ON):
                raise

    async def _poll(self, poll: _Poll) -> float:
        """Poll once. Returns how many seconds to wait before the next poll."""
        if self._settings.turn is not None:
            await self._settings.turn()
        began, retry_after = self._now(), None
        try:
            update = await poll()
        except AkapuluError as error:
            retry_after = getattr(error, "retry_after", None)
            self._lifecycle.receive_poll_failure(error, self._now())
        else:
            self._lifecycle.receive_update(update, self._now())
        return self._polled(began, retry_after)

    async def _pause(self, seconds: float) -> None:
        """Wait until the next poll is due, or a participant reports that the bot is ready."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        due = self._poll_due = loop.create_future()
        timer = loop.call_later(seconds, self._poll_now)
        try:
            await due
        finally:
            timer.cancel()

    def _polled(self, began: float, retry_after: float | None) -> float:
        """Publish the outcome of a poll, and return how many seconds to wait before the next."""
        lifecycle, now = self._lifecycle, self._now()
        if now - lifecycle.began >= (self._settings.ready_timeout or math.inf):
            lifecycle.receive_ready_timeout(now)
        self._publish()
        if lifecycle.outlived:
            self._log(
                logging.WARNING,
                "conversation %s was followed for %g s (max_duration) and is not followed any longer; it may continue",
                self._max_duration,
            )
        due = self._settings.poll.pause(
            ready=lifecycle.ready,
            failures=lifecycle.failures,
            rng=self._settings.rng,
            percent=lifecycle.progress.percent,
            elapsed=now - lifecycle.began,
            still=now - lifecycle.rose,
            retry_after=retry_after,
        )
        return max(0.0, min(began + due, lifecycle.began + self._max_duration) - now)

    def _joined(self) -> None:
        self._lifecycle.receive_reached(SessionState.ROOM_JOINED, self._now())
        self._publish()

    def _poll_now(self) -> None:
        if self._poll_due is not None and not self._poll_due.done():
            self._poll_due.set_result(None)

    def _participant_left(self, error: BaseException | None) -> None:
        if self.end_reason is not None and error is not None and not isinstance(error, PASSED_ON):
            # Its text may quote the token.
            text = excerpt(str(error), self._secrets)
            self._log(logging.WARNING, "conversation %s: its participant failed to leave: %s", text)
        # Leaving the room ends the conversation [documented].
        completed = error is None and self._lifecycle.ready
        self._finish(EndReason.COMPLETED if completed else EndReason.FAILED, error)

    def _participant_late(self, task: asyncio.Task[None]) -> None:
        self._log(logging.WARNING, "conversation %s: its participant did not leave in time and is cancelled")
        task.cancel()

    def _ready_timed_out(self, due: float) -> None:
        if self._lifecycle.ready or self._now() - due <= LATE_LOOP:
            self._give_up()
            return
        # The loop was blocked, and the bot may have got ready meanwhile. The poll that is under way or due decides, in
        # `_polled()`, unless it takes too long.
        self._poll_now()
        self._end_callbacks.append(asyncio.get_running_loop().call_later(LATE_POLL, self._give_up).cancel)

    def _give_up(self) -> None:
        self._lifecycle.receive_ready_timeout(self._now())
        self._publish()

    def _finish(self, reason: EndReason, cause: BaseException | None = None) -> None:
        self._lifecycle.receive_ended(reason, self._now(), cause)
        self._publish()

    async def close(self, reason: EndReason = EndReason.LEFT, *, shutdown: bool = False) -> bool:
        """End the session if it has not ended, and wait until its tasks are done. Returns True if all are.

        The wait is shielded from cancellation and takes ten seconds at most. May be called again. A participant that
        calls this is not waited for.

        Args:
            reason: Why it ends.
            shutdown: Whether its owner shuts down: a conversation that continues is then warned of.
        """
        if self._lifecycle.began_at is None:
            return True
        if self._closes is not None:
            self._closes()
        attendance = self._attendance
        if not (self.end_reason or (attendance and attendance.entered)) and self._lifecycle.session_id:
            # Nobody of ours is in its room to hang up. An attached conversation is for another program to end.
            unintended = self._connection is not None and (shutdown or reason is EndReason.CANCELLED)
            level = logging.WARNING if unintended else logging.INFO
            self._log(level, "conversation %s may continue without this program and hold its slot")
        self._finish(reason)
        tasks = (self._poller, None if attendance is None else attendance.task)
        running = [task for task in tasks if task is not None and task not in callers()]
        try:
            return await settle(running, 2 * LEAVE_GRACE)
        finally:
            if not all(task.done() for task in running):
                self._log(logging.WARNING, "conversation %s: its participant ignored cancellation")
            else:
                # The frames of their errors refer to the session; drop them, so that it is freed without a collection.
                self._poller = None
                if attendance and attendance.task.done():
                    self._attendance = None

    def is_attended_by(self, tasks: Container[object]) -> bool:
        """Return True if one of these tasks is that of the participant, which has not left yet."""
        return self._attendance is not None and not self._attendance.task.done() and self._attendance.task in tasks

    def _publish(self) -> None:
        """Publish what followed from the facts. When the session is over, stop its tasks."""
        events = self._lifecycle.events_received()
        if not events:
            return
        self._event_log.publish(events)
        if self.end_reason is not None:  # published once, since nothing follows it
            if self._poller is not None and self._poller is not asyncio.current_task():
                self._poller.cancel()
            if self._attendance is not None:
                task = self._attendance.task
                timer = asyncio.get_running_loop().call_later(LEAVE_GRACE, self._participant_late, task)
                task.add_done_callback(lambda _: timer.cancel())
                self._attendance.leave()
            for callback in tuple(self._end_callbacks):
                callback()
        if self._listener is not None:
            self._listener(events)
        observers = self._conversations.observers
        if observers.session_event:
            for event in events:
                observers.tell(observers.session_event, event)

    def _log(self, level: int, message: str, *values: object) -> None:
        """Log a record about this conversation; its id is the message's first value."""
        logger.log(level, message, self.id, *values, extra={"session_id": self.id})
