"""Many conversations on one event loop."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, Self, TypeVar
from uuid import UUID

import attrs
from anyio import AsyncContextManagerMixin

from akapulu_async.conversations import Conversations
from akapulu_async.door import Door
from akapulu_async.errors import (
    ConcurrencyLimitError,
    ConfigurationError,
    ManagerClosedError,
    MinutesLimitError,
    StartTimeoutError,
)
from akapulu_async.fan_out import CLOSE_GRACE, FanOut, Handler, Run
from akapulu_async.listening import LISTENER_BUFFER, Listeners, ManagerEvent
from akapulu_async.log import logger
from akapulu_async.models import ConnectRequest, check_request, checked_id
from akapulu_async.sansio.admission import Admission, Pace
from akapulu_async.sansio.lifecycle import EndReason, SessionEvent, SessionState, Signals, StateChanged
from akapulu_async.sansio.policies import FullPolicy, PollPolicy
from akapulu_async.sansio.signals import UpdateSignals
from akapulu_async.sansio.snapshot import SessionSnapshot, as_start
from akapulu_async.sansio.statistics import ManagerStatistics, Tally
from akapulu_async.session import READY_TIMEOUT, ConversationSession, Participant, SessionSettings
from akapulu_async.tasks import settle

T = TypeVar("T")

RUN_CONCURRENCY = 100
"""How many requests `run()` works on at once if neither it nor the manager is told."""


class Client(Protocol):
    """What a manager needs of the client."""

    @property
    def conversations(self) -> Conversations:
        """What can be asked of the service."""

    @property
    def poll(self) -> PollPolicy:
        """How often sessions poll."""


@attrs.define(eq=False)
class _Entry:
    """One session of the manager, from the wish for it until nothing of it runs."""

    request: ConnectRequest | None
    """None if it was connected elsewhere."""

    session: ConversationSession | None = None
    task: "asyncio.Task[ConversationSession] | None" = None
    connecting: bool = False
    """Whether its connect is on its way, or was answered well."""

    abandoned: bool = False
    """Whether nobody waits for it to come up any more."""

    settled: bool = False
    """Whether it came up, and so gives a place back when it ends."""

    tries: int = 0


class SessionManager(AsyncContextManagerMixin):
    """Owns sessions, whichever tasks start them, and keeps them within the bounds that are set.

    ::

        async with SessionManager(client, max_sessions=200) as manager:
            session = await manager.start(request)

    or `await manager.open()` and `await manager.aclose()`, in the same task or in different ones. Sessions live in the
    manager: the task that starts one may end, be cancelled or time out. A session's failure stays its own.

    Args:
        client: The client, which must be open as long as the manager is.
        max_sessions: How many started sessions may run at once; further starts wait, first come first served. None
            for no limit. Attached sessions do not count.
        max_polls_per_second: How many polls all sessions together may send a second; past that they slow down
            evenly. None for no limit.
        max_connects_per_second: How many connects may be sent a second, so that a burst does not hammer the service.
            None for no limit.
        when_full: What to do when the service says that all slots of the account are taken: `"raise"` the
            `ConcurrencyLimitError` at once, or `"wait"` and try again: at once for each session that ends here, and
            with growing, jittered pauses for those that end elsewhere. Minutes used up always raises, for all who wait.
        full: The pauses of `when_full="wait"`.
        poll: How often sessions poll; None as the client's `poll`.
        ready_timeout: See `AkapuluClient.session()`.
        participant: See `AkapuluClient.session()`.
        signals: See `AkapuluClient.session()`.
    """

    def __init__(
        self,
        client: Client,
        *,
        max_sessions: int | None = None,
        max_polls_per_second: float | None = None,
        max_connects_per_second: float | None = None,
        when_full: Literal["raise", "wait"] = "raise",
        full: FullPolicy = FullPolicy(),  # noqa: B008 - frozen
        poll: PollPolicy | None = None,
        ready_timeout: float | None = READY_TIMEOUT,
        participant: Participant | None = None,
        signals: Signals = UpdateSignals(),  # noqa: B008 - frozen
    ) -> None:
        _check_count("max_sessions", max_sessions)
        _check_positive("max_polls_per_second", max_polls_per_second)
        _check_positive("max_connects_per_second", max_connects_per_second)
        if when_full not in ("raise", "wait"):
            raise ConfigurationError(f"when_full: {when_full!r:.80} is neither 'raise' nor 'wait'")
        self._conversations = client.conversations
        self._settings = SessionSettings(
            poll=poll or client.poll,
            ready_timeout=ready_timeout,
            participant=participant,
            signals=signals,
            pace=None if max_polls_per_second is None else Pace(max_polls_per_second).wait,
        )
        self._max_sessions = max_sessions
        pause = full if when_full == "wait" else None
        self._door = Door(Admission(max_sessions, Pace(max_connects_per_second), pause, random.random))
        self._entries: set[_Entry] = set()
        self._live: dict[str, _Entry] = {}
        self._closers: set[asyncio.Task[bool]] = set()
        self._runs: set[asyncio.Task[None]] = set()
        self._listeners = Listeners()
        self._idle = asyncio.Event()
        self._open = False
        self._tally = Tally()

    # Opening and closing.

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        await self.open()
        try:
            yield self
        finally:
            await self.aclose()

    async def open(self) -> None:
        """Begin to take sessions. Sends nothing; does nothing if it is open."""
        self._open = True
        self._listeners.open()

    async def drain(self, *, timeout: float | None = None) -> bool:
        """Take no more sessions, and wait until the running ones have ended; whether they have.

        Starts that wait get a `ManagerClosedError`, and a `run()` takes no more requests from its iterable. What still
        runs after the timeout goes on; `aclose()` ends it.

        Args:
            timeout: Seconds to wait at the most; None for no limit.
        """
        self._refuse_more()
        try:
            async with asyncio.timeout(timeout):
                while self._entries:
                    self._idle.clear()
                    await self._idle.wait()
                if self._closers:
                    await asyncio.wait(self._closers)
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Take no more sessions, and end those that run (`EndReason.LEFT`). Can be called again.

        It is shielded from cancellation, and takes 20 s at the most even if the service hangs. What cannot be ended by
        then is named in a warning.
        """
        self._refuse_more()
        # A task of its own, so that a cancel of this one skips no step of it.
        closing = asyncio.get_running_loop().create_task(self._end_all(), name="akapulu manager close")
        await settle((closing,), None)

    async def _end_all(self) -> None:
        for run in self._runs:
            run.cancel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_GRACE
        ends = [loop.create_task(self._end(entry, EndReason.LEFT), name="akapulu end") for entry in self._entries]
        # What ends is closed by tasks that come up meanwhile.
        if not (
            await settle([*self._runs, *ends], CLOSE_GRACE) and await settle(self._closers, deadline - loop.time())
        ):
            for entry in self._entries:
                logger.warning("! %r could not be ended in time", entry.session)
            for run in self._runs:
                logger.warning(
                    "! %s could not be ended in time: a handler does not heed its cancellation", run.get_name()
                )
        self._listeners.close()

    def _refuse_more(self) -> None:
        self._open = False
        self._door.dismiss(ManagerClosedError("the session manager was closed before the session could be started"))

    # Starting.

    async def start(self, request: ConnectRequest, *, timeout: float | None = None) -> ConversationSession:
        """Start a session, and return it once it is connected. It lives in the manager until it ends.

        Args:
            request: What to connect.
            timeout: Seconds to wait at the most for a free place and for the connect; None for no limit.

        Raises:
            ManagerClosedError: The manager is not open, or was closed meanwhile.
            StartTimeoutError: It was not started in time (also a `TimeoutError`).
            AkapuluError: What `Conversations.connect()` raises.

        When cancelled, or timed out, while it waits, it loses its place and no more is sent. When its connect is on
        its way, that goes on: the session then lives in the manager, in `sessions` and `events()`.
        """
        return await self._wait(self._arrive(request), timeout, goes_on=True)

    @asynccontextmanager
    async def session(
        self, request: ConnectRequest, *, timeout: float | None = None
    ) -> AsyncGenerator[ConversationSession]:
        """Start a session for a block, and end it when the block is left. Else like `start()`.

        When cancelled or timed out while its connect is on its way, the connect is waited for, five seconds at the
        most, and the session ended.
        """
        entry = self._arrive(request)
        reason = EndReason.LEFT
        try:
            yield await self._wait(entry, timeout, goes_on=False)
        except asyncio.CancelledError:
            reason = EndReason.CANCELLED
            raise
        finally:
            await self._end(entry, reason)

    async def attach(self, session: str | UUID | SessionSnapshot | Mapping[str, Any]) -> ConversationSession:
        """Take up a conversation that was connected elsewhere: see `AkapuluClient.attach()`.

        If it is here already, started or attached, that session is returned: it polls once, and ends once for all.

        Raises:
            ManagerClosedError: The manager is not open.
            ConfigurationError: It is neither an id nor a snapshot.
        """
        self._check_open()
        start = as_start(session)
        known = self._live.get(start if isinstance(start, str) else start.session_id)
        if known is not None and known.session is not None:
            return known.session
        entry = _Entry(None)
        attached = self._make(entry, start)
        self._entries.add(entry)
        self._tally.started += 1
        await attached.open()
        self._settle_in(entry, attached)
        return attached

    def run(
        self,
        requests: Iterable[ConnectRequest] | AsyncIterable[ConnectRequest],
        handler: Handler[T],
        *,
        concurrency: int | None = None,
    ) -> FanOut[T]:
        """Work through requests, each with a session of its own, and give the outcomes as they finish.

        ::

            async for outcome in manager.run(requests, handler): ...

        Requests are taken from the iterable only when there is a place, and outcomes wait for their reader, so that
        memory stays constant however many there are. What goes wrong with one, in the service or in the handler, is its
        outcome's `error`. If the iterable itself raises, that is raised after the outcomes of what it gave. Leaving the
        loop early cancels what runs: see `FanOut`.

        Args:
            requests: What to connect: any iterable, or an async one.
            handler: Awaited with each connected session, which ends when it returns.
            concurrency: How many to work on at once; None: the manager's `max_sessions`, or 100 without one.

        Raises:
            ManagerClosedError: The manager is not open.
        """
        self._check_open()
        _check_count("concurrency", concurrency)
        places = concurrency or self._max_sessions or RUN_CONCURRENCY
        return FanOut(Run(requests, handler, self.session, places, lambda: not self._open), self._runs)

    # Watching.

    @property
    def sessions(self) -> tuple[ConversationSession, ...]:
        """The sessions that are connecting or run. Those that are `connecting` have no id yet, and raise if asked."""
        return tuple(entry.session for entry in self._entries if entry.session is not None)

    def get(self, session_id: str | UUID) -> ConversationSession | None:
        """Return the running session of a conversation; None if there is none here.

        Raises:
            ConfigurationError: The id is no UUID.
        """
        entry = self._live.get(checked_id("session_id", session_id))
        return None if entry is None else entry.session

    def events(self, *, buffer: int = LISTENER_BUFFER) -> AsyncIterator[ManagerEvent]:
        """Return an iterator over what happens to all sessions from now on, until the manager is closed.

        Any number may listen. Each has a buffer of so many events; one that falls behind by more is told with an
        `EventsMissed` how many it lost, and nobody waits for it. For all events of one session see `session.events()`.
        A connect that waits for a slot of the account (`when_full="wait"`) enters `connecting` with each try.
        """
        _check_count("buffer", buffer)
        return self._listeners.add(buffer)

    def statistics(self) -> ManagerStatistics:
        """Return the figures so far. Cheap enough for a line a second: it looks at each live session."""
        sessions = self.sessions
        return self._tally.statistics(
            Counter(session.state for session in sessions),
            waiting=self._door.waiting,
            polls=sum(session.polls for session in sessions),
            poll_failures=sum(session.poll_failures for session in sessions),
        )

    # How a session comes up.

    def _check_open(self) -> None:
        if not self._open:
            raise ManagerClosedError(
                "the session manager takes no sessions: it is not open, or it was closed or drained"
            )

    def _arrive(self, request: ConnectRequest) -> _Entry:
        self._check_open()
        check_request(request)
        entry = _Entry(request)
        self._entries.add(entry)
        entry.task = asyncio.get_running_loop().create_task(self._bring_up(entry, request), name="akapulu start")
        entry.task.add_done_callback(lambda task: self._brought_up(entry, task))
        return entry

    async def _wait(self, entry: _Entry, timeout: float | None, *, goes_on: bool) -> ConversationSession:
        """Wait for a session to come up; its task lives on when this wait is cancelled."""
        task = entry.task
        assert task is not None
        try:
            done, _ = await asyncio.wait((task,), timeout=timeout)
        except asyncio.CancelledError:
            self._give_up(entry)
            raise
        if not done:
            self._give_up(entry)
            if not entry.connecting:
                await settle((task,), None)
            raise StartTimeoutError(
                timeout=timeout or 0.0,
                connecting=entry.connecting,
                goes_on=entry.connecting and goes_on,
                running=self._door.running,
                waiting=self._door.waiting,
            )
        if task.cancelled():
            raise ManagerClosedError("the session manager was closed while the session was connecting")
        try:
            return task.result()
        finally:
            del task  # which an error's frames would keep, and it them

    def _give_up(self, entry: _Entry) -> None:
        entry.abandoned = True
        if not entry.connecting and entry.task is not None:
            entry.task.cancel()

    async def _bring_up(self, entry: _Entry, request: ConnectRequest) -> ConversationSession:
        # Not before: a task that is cancelled before it began would leave its place in the queue for ever.
        ticket = self._door.arrive()
        while True:
            await self._door.enter(ticket)
            session = self._make(entry, request)
            entry.connecting = True
            entry.tries += 1
            self._tally.started += entry.tries == 1
            try:
                await session.open()
            except ConcurrencyLimitError:
                if not self._may_wait_again(entry):
                    self._door.failed(ticket)
                    raise
                entry.connecting, entry.session = False, None
                self._door.refused(ticket)
                continue
            except MinutesLimitError as error:
                self._door.dismiss(error)  # first, so that the place that gets free tempts nobody
                self._door.failed(ticket)
                raise
            except BaseException:
                self._door.failed(ticket)
                raise
            self._door.connected(ticket)
            self._settle_in(entry, session)
            return session

    def _brought_up(self, entry: _Entry, task: "asyncio.Task[ConversationSession]") -> None:
        entry.task = None
        if task.cancelled() or task.exception() is not None:
            self._forget(entry)
            entry.session = None

    def _make(self, entry: _Entry, start: ConnectRequest | SessionSnapshot | str) -> ConversationSession:
        entry.session = ConversationSession(
            self._conversations, start, self._settings, lambda events: self._hear(entry, events)
        )
        return entry.session

    def _settle_in(self, entry: _Entry, session: ConversationSession) -> None:
        if session.ended.is_set():  # a snapshot's, or by its user while it was connecting
            self._forget(entry)
            self._give_back(entry)
        else:
            entry.settled = True
            self._live[session.id] = entry

    # How it goes on, and goes.

    def _hear(self, entry: _Entry, events: list[SessionEvent]) -> None:
        last = events[-1]
        if isinstance(last, StateChanged) and self._will_try_again(entry, last):
            return
        for event in events:
            if isinstance(event, StateChanged):
                self._count(entry, event)
        self._listeners.hear(events)

    def _will_try_again(self, entry: _Entry, event: StateChanged) -> bool:
        """Whether a connect was refused that waits for a slot: no end that anybody should hear of."""
        refused = event.end_reason is EndReason.CONNECT_FAILED and isinstance(event.cause, ConcurrencyLimitError)
        return refused and self._may_wait_again(entry)

    def _may_wait_again(self, entry: _Entry) -> bool:
        """Whether what meets a full account waits for a slot."""
        return self._open and self._door.takes_refusals and not entry.abandoned

    def _count(self, entry: _Entry, event: StateChanged) -> None:
        if event.state is SessionState.BOT_READY:
            self._tally.count_ready(event, seen_from_start=entry.request is not None)
        elif event.end_reason is not None and entry.session is not None:
            session = entry.session
            self._tally.count_end(event.end_reason, polls=session.polls, poll_failures=session.poll_failures)
            if entry.settled:
                self._let_go(entry, session)

    def _let_go(self, entry: _Entry, session: ConversationSession) -> None:
        self._forget(entry)
        if self._live.get(session.id) is entry:  # what a service answers may be the id of another one
            del self._live[session.id]
        closer = asyncio.get_running_loop().create_task(session.close(), name="akapulu close")
        self._closers.add(closer)
        closer.add_done_callback(lambda closer: self._gone(entry, closer))

    def _gone(self, entry: _Entry, closer: "asyncio.Task[bool]") -> None:
        """Give a session's place to the next: not before its participant left the room, which frees its slot."""
        self._closers.discard(closer)
        self._give_back(entry)

    def _give_back(self, entry: _Entry) -> None:
        entry.session = entry.task = None  # what is over is kept by nobody but its users
        if entry.request is not None:
            self._door.ended()

    def _forget(self, entry: _Entry) -> None:
        self._entries.discard(entry)
        if not self._entries:
            self._idle.set()

    async def _end(self, entry: _Entry, reason: EndReason) -> None:
        """End a session, or its coming up, and wait until nothing of it runs."""
        try:
            if entry.task is not None and not entry.task.done():
                entry.task.cancel()
                await settle((entry.task,), None)
        finally:
            if entry.session is not None:
                await entry.session.close(reason)


def _check_positive(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, int | float) and value > 0):
        raise ConfigurationError(f"{name}: {value!r:.80} is not a number greater than 0, nor None for no limit")


def _check_count(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ConfigurationError(f"{name}: {value!r:.80} is not a whole number greater than 0, nor None for no limit")
