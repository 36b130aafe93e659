"""One conversation as an object that lives: connected, watched, and over when its context is left."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

from anyio import AsyncContextManagerMixin

from akapulu_async.errors import AkapuluError, ConfigurationError
from akapulu_async.leak_warnings import warn_unless_closed
from akapulu_async.log import logger
from akapulu_async.models.connection import Connection, ConnectRequest
from akapulu_async.models.conversation import ConversationDetail
from akapulu_async.resources.conversations import Conversations
from akapulu_async.sansio.lifecycle import EndReason, Lifecycle, SessionEvent, SessionState
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.secret import excerpt
from akapulu_async.session.settings import Participant, SessionSettings
from akapulu_async.session.view import SessionView
from akapulu_async.tasks import settle

LEAVE_GRACE = 5.0
"""Seconds that a participant may take to leave the room before it is cancelled."""


class ConversationSession(SessionView, AsyncContextManagerMixin):
    """A conversation, from its connect to its end. Made by `client.session()` and `client.attach()`.

    ::

        async with client.session(request) as session:
            await session.bot_ready.wait()

    Entering connects. Leaving ends it for this program, however the block is left: the session's participant leaves the
    room, which ends the conversation; the polling stops. (The service offers no call that ends one [documented];
    without a participant it goes on until its user leaves or a limit strikes.) The block itself is not cancelled when
    the conversation ends: use `ready()` or `phase()` for that.

    Any number of tasks may watch and wait at once, without slowing each other or the polling. Every wait ends: with
    what was waited for, or with a `SessionEndedError` that tells reason and cause.

    If connecting fails, entering raises what `Conversations.connect()` raises. If it is cancelled, the connect is
    waited for, five seconds at the most, so that the conversation it may have made is known: the `CancelledError`
    bears a note that names it, and a warning in the log does.
    """

    # Not the loop's time: uvloop's is one of whole milliseconds, taken when its round began.
    _now = staticmethod(time.monotonic)

    def __init__(
        self,
        conversations: Conversations,
        start: ConnectRequest | SessionSnapshot | str,
        settings: SessionSettings,
        listener: Callable[[list[SessionEvent]], object] | None = None,
    ) -> None:
        """Make a session.

        Args:
            conversations: What can be asked of the service.
            start: What to connect, or what to take up.
            settings: What it is run with.
            listener: Told of events as they happen, in the order of the log.
        """
        super().__init__(Lifecycle(settings.signals, settings.poll.max_failures))
        self._conversations = conversations
        self._start = start
        self._settings = settings
        self._listener = listener
        self._poller: asyncio.Task[None] | None = None
        self._attendance: asyncio.Task[None] | None = None
        self._attending = False
        self._letting_go: dict[tuple[asyncio.Task[None], ...], asyncio.Task[bool]] = {}
        self._ready_timer: asyncio.TimerHandle | None = None
        self._closes: Callable[[], object] | None = None

    async def detail(self) -> ConversationDetail:
        """See `Conversations.detail()`."""
        return await self._conversations.detail(self.id)

    def mark_room_joined(self) -> None:
        """Say that somebody joined the room, which the application may know before the service tells it.

        Raises:
            ConfigurationError: It is not connected yet, so that there is no room.
        """
        self._require_id()
        self._lifecycle.receive_joined(self._now())
        self._publish()

    async def end(self) -> None:
        """End the session (`EndReason.LEFT`), and wait until its participant left the room. Can be called again."""
        await self.close(EndReason.LEFT)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        await self.open()
        reason = EndReason.LEFT
        try:
            yield self
        except asyncio.CancelledError:
            reason = EndReason.CANCELLED
            raise
        finally:
            await self.close(reason)

    async def open(self) -> None:
        """Connect, or take up what is connected, and begin to poll: what `async with` does on entry.

        For owners that are no block, who call `close()` then. Raises what entering raises: besides what connecting
        raises, a `SessionEndedError` if the session was ended meanwhile.
        """
        if self._lifecycle.began_at is not None:
            raise ConfigurationError("a session lives once: make another with client.session() or client.attach()")
        if isinstance(self._start, SessionSnapshot):
            self._start.restore(self._lifecycle, self._now(), datetime.now(UTC))
        else:
            if isinstance(self._start, str):
                self._lifecycle.receive_connected(self._start)
            self._lifecycle.receive_connecting(self._now(), datetime.now(UTC))
        self._publish()
        if isinstance(self._start, ConnectRequest):
            await self._connect(self._start)
            if self._over:
                self._warn_of_orphan()
                raise self._ended_error()
        if not self._over:
            self._begin()

    async def _connect(self, request: ConnectRequest) -> None:
        began = self._now()
        try:
            connection = await self._conversations.connect(request, on_late_answer=self._take)
        except asyncio.CancelledError as error:
            self._finish(EndReason.CANCELLED)
            if self._connection is not None:
                error.add_note(f"conversation {self.id} was connected meanwhile; it holds a slot until it ends")
                self._warn_of_orphan()
            raise
        except Exception as error:
            self._finish(EndReason.CONNECT_FAILED, error)
            raise
        self._connected_after = self._now() - began
        self._take(connection)

    def _warn_of_orphan(self) -> None:
        logger.warning(
            "! conversation %s was connected by a session that was cancelled or ended meanwhile; it holds a slot",
            self.id,
        )

    def _take(self, connection: Connection) -> None:
        self._connection = connection
        self._lifecycle.receive_connected(connection.conversation_session_id)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if self._listener is None:  # else its owner sees to it
            self._closes = warn_unless_closed(self, "ConversationSession", "use `async with`, or end()")
        self._poller = loop.create_task(self._keep_polling(), name=f"akapulu poll {self.id}")
        if self._settings.participant is not None and self._connection is not None:
            attendance = self._attend(self._settings.participant, self._connection)
            self._attendance = loop.create_task(attendance, name=f"akapulu participant {self.id}")
        left = self._left_to_get_ready(self._now())
        # What is taken up too late may be ready all the same: the first poll tells.
        if 0 < left < math.inf and not self._lifecycle.ready:
            self._ready_timer = loop.call_later(left, self._ready_timed_out)

    def _left_to_get_ready(self, now: float) -> float:
        if self._settings.ready_timeout is None:
            return math.inf
        return self._lifecycle.began + self._settings.ready_timeout - now

    async def _keep_polling(self) -> None:
        lifecycle, turn = self._lifecycle, self._settings.turn
        try:
            poll = self._conversations.poller(self.id)
            # What was just connected has no news; what is taken up may be ready.
            pause = self._settings.poll.first_pause(self._settings.rng) if self._connection is not None else 0.0
            while not self._over:
                await asyncio.sleep(pause)
                if turn is not None:
                    await turn()
                began, retry_after = self._now(), None
                try:
                    update = await poll()
                except AkapuluError as error:
                    now, retry_after = self._now(), getattr(error, "retry_after", None)
                    self._polls += 1
                    self._poll_failures += 1
                    lifecycle.receive_poll_failure(error, now)
                else:
                    now = self._now()
                    self._polls += 1
                    lifecycle.receive_update(update, now)
                pause = self._polled(began, now, retry_after)
        except BaseException as error:
            # Whatever it is, the watchers must know: nobody polls any more.
            self._finish(EndReason.FAILED, error)
            if not isinstance(error, Exception):
                raise

    def _polled(self, began: float, now: float, retry_after: float | None) -> float:
        """Tell what followed from a poll, and return how many seconds to wait before the next."""
        lifecycle = self._lifecycle
        if self._left_to_get_ready(now) <= 0:
            lifecycle.receive_ready_timeout(now)
        self._publish()
        due = self._settings.poll.pause(
            ready=lifecycle.ready,
            failures=lifecycle.failures,
            rng=self._settings.rng,
            percent=lifecycle.progress.percent,
            elapsed=now - lifecycle.began,
            still=now - lifecycle.rose,
            retry_after=retry_after,
        )
        return max(0.0, began + due - now)

    async def _attend(self, participant: Participant, connection: Connection) -> None:
        try:
            async with participant(connection):
                self._attending = True
                self.mark_room_joined()
                await self._reached(SessionState.ENDED)
            # It left by itself: whoever leaves the room ends the conversation [documented].
            self._finish(EndReason.COMPLETED if self._lifecycle.ready else EndReason.FAILED)
        except Exception as error:  # noqa: BLE001 - whatever it is, the watchers must know
            if self._over:
                text = excerpt(str(error), (connection.token,))
                logger.warning("! conversation %s: its participant did not leave cleanly: %s", self.id, text)
            self._finish(EndReason.FAILED, error)
        except BaseException as error:
            # Our own cancel comes after the end; another one's is a failure to join like any other.
            self._finish(EndReason.FAILED, error)
            raise

    def _ready_timed_out(self) -> None:
        self._lifecycle.receive_ready_timeout(self._now())
        self._publish()

    def _finish(self, reason: EndReason, cause: BaseException | None = None) -> None:
        self._lifecycle.receive_ended(reason, self._now(), cause)
        self._publish()

    async def close(self, reason: EndReason = EndReason.LEFT, *, shutdown: bool = False) -> bool:
        """End the session, if it has not ended, and wait until nothing of it runs; whether that came to be.

        The wait is shielded from cancellation and takes ten seconds at the most. Can be called again.

        Args:
            reason: Why it ends.
            shutdown: Whether its owner ends, too, so that a conversation that goes on is nobody's business any more.
        """
        if self._lifecycle.began_at is None:
            return True
        if self._closes is not None:
            self._closes()
        if not self._over and not self._attending:
            unmeant = self._connection is not None and (shutdown or reason is EndReason.CANCELLED)
            self._tell_that_it_goes_on(logging.WARNING if unmeant else logging.INFO)
        self._finish(reason)
        tasks = (self._poller, self._attendance)
        running = tuple(task for task in tasks if task is not None and task is not asyncio.current_task())
        if not running:
            return True
        letting_go = self._letting_go.get(running)
        if letting_go is None or letting_go.done():
            # A task of its own, so that a cancel of this one skips no step of it; and one for all who close at once,
            # so that a participant that does not leave is cancelled once.
            letting_go = asyncio.create_task(self._let_go(running), name=f"akapulu end {self.id}")
            self._letting_go[running] = letting_go
        await settle((letting_go,), None)
        if letting_go.result():
            # Their errors' frames know the session: without this, only the collector could free it.
            # But a participant that ends its session while it leaves is there until it has left.
            self._poller = None if self._poller in running else self._poller
            self._attendance = None if self._attendance in running else self._attendance
            self._letting_go.clear()
            return True
        return False

    def _tell_that_it_goes_on(self, level: int) -> None:
        """Name a conversation that has nobody of ours in its room to hang up. What was attached is another's to end."""
        if self._lifecycle.session_id is not None:
            logger.log(level, "! conversation %s may go on without this program; then it holds a slot", self.id)

    async def _let_go(self, running: "tuple[asyncio.Task[None], ...]") -> bool:
        """Wait for what runs, cancel what does not end in time, and return whether all of it ended."""
        if await settle(running, LEAVE_GRACE):
            return True
        logger.warning("! conversation %s: its participant does not leave in time; it is cancelled", self.id)
        for task in running:
            task.cancel()
        if await settle(running, LEAVE_GRACE):
            return True
        logger.warning("! conversation %s: its participant does not even heed its cancellation", self.id)
        return False

    def _publish(self) -> None:
        """Hand out what followed from the facts; when the session is over, let go of all that runs."""
        events = self._lifecycle.events_received()
        if not events:
            return
        self._log.publish(events)
        if self._lifecycle.state is SessionState.ENDED and not self._over:
            self._over = True
            if self._ready_timer is not None:
                self._ready_timer.cancel()
            if self._poller is not None and self._poller is not asyncio.current_task():
                self._poller.cancel()
            if self._attendance is not None and not self._attending:
                self._attendance.cancel()
            for callback in tuple(self._end_callbacks):
                callback()
        if self._listener is not None:
            self._listener(events)
