"""The sessions of a manager: how they come up, what is heard of them, and how they go."""

import asyncio

import attrs

from akapulu_async.errors import ConcurrencyLimitError, ManagerClosedError, MinutesLimitError, StartTimeoutError
from akapulu_async.manager.broadcast import Broadcast
from akapulu_async.manager.gate import StartGate
from akapulu_async.models.connection import ConnectRequest, check_request
from akapulu_async.resources.conversations import Conversations
from akapulu_async.sansio.lifecycle import EndReason, SessionEvent, SessionState, StateChanged
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.sansio.statistics import Tally
from akapulu_async.session import ConversationSession, SessionSettings
from akapulu_async.tasks import settle

GOES_ON = frozenset({EndReason.LEFT, EndReason.CANCELLED, EndReason.READY_TIMEOUT})
"""Ends of an attached session that are none of its conversation's."""


@attrs.define(eq=False, repr=False)
class Entry:
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
    refusal: list[SessionEvent] | None = None
    """The end of the last try, met by a full account, which is no end unless there is no other try."""


class SessionRegistry:
    """Owns the sessions and the tasks that bring them up and close them. Not for threads.

    Attributes:
        entries: All sessions that come up, run or are about to be told of.
        live: Those that are connected, by their ids.
        closers: The tasks that wait for what ended to be gone.
        is_open: Whether more are taken.
    """

    def __init__(self, conversations: Conversations, settings: SessionSettings, gate: StartGate) -> None:
        self._conversations = conversations
        self.settings = settings
        self.gate = gate
        self.entries: set[Entry] = set()
        self.live: dict[str, Entry] = {}
        self.closers: set[asyncio.Task[bool]] = set()
        self.broadcast = Broadcast()
        self.tally = Tally()
        self.is_open = False
        self._idle = asyncio.Event()

    def check_open(self) -> None:
        """Raise ManagerClosedError unless sessions are taken."""
        if not self.is_open:
            raise ManagerClosedError(
                "the session manager takes no sessions: it is not open, or it was closed or drained"
            )

    async def emptied(self) -> None:
        """Wait until no session is left, nor anything of one."""
        while self.entries:
            if self._idle.is_set():
                self._idle = asyncio.Event()  # one serves one loop
            await self._idle.wait()
        if self.closers:
            await asyncio.wait(self.closers)

    async def take_up(self, start: SessionSnapshot | str) -> ConversationSession:
        """Return the session of a conversation that was connected elsewhere: the one that is here, or a new one."""
        self.check_open()
        known = self.live.get(start if isinstance(start, str) else start.session_id)
        if known is not None and known.session is not None:
            return known.session
        entry = Entry(None)
        session = self._make(entry, start)
        self.entries.add(entry)
        self.tally.started += 1
        try:
            await session.open()
        except BaseException:  # a bug of a participant's or of what else is the user's
            self._forget(entry)
            raise
        self._settle_in(entry, session)
        return session

    def arrive(self, request: ConnectRequest) -> Entry:
        """Begin to bring up a session, in a task of its own."""
        self.check_open()
        check_request(request)
        entry = Entry(request)
        self.entries.add(entry)
        entry.task = asyncio.get_running_loop().create_task(self._bring_up(entry, request), name="akapulu start")
        entry.task.add_done_callback(lambda task: self._brought_up(entry, task))
        return entry

    async def wait(self, entry: Entry, timeout: float | None, *, goes_on: bool) -> ConversationSession:
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
                running=self.gate.running,
                waiting=self.gate.waiting,
            )
        if task.cancelled():
            raise ManagerClosedError("the session manager was closed while the session was connecting")
        try:
            return task.result()
        finally:
            del task, done  # which an error's frames would keep, and it them

    def _give_up(self, entry: Entry) -> None:
        entry.abandoned = True
        if not entry.connecting and entry.task is not None:
            entry.task.cancel()

    async def _bring_up(self, entry: Entry, request: ConnectRequest) -> ConversationSession:
        self.check_open()  # again: the draining may have begun in the moment before this task did
        # Not before: a task that is cancelled before it began would leave its place in the queue for ever.
        ticket = self.gate.arrive()
        while True:
            await self.gate.enter(ticket)
            session = self._make(entry, request)
            entry.connecting, entry.refusal = True, None
            entry.tries += 1
            self.tally.started += entry.tries == 1
            try:
                await session.open()
            except ConcurrencyLimitError as error:
                if session.end_reason is not EndReason.CONNECT_FAILED or not self._may_wait_again(entry):
                    self.gate.failed(ticket)
                    raise
                entry.connecting, entry.session = False, None
                error.__traceback__ = None  # which would keep the session as long as this waits
                self.gate.refused(ticket)
                continue
            except MinutesLimitError as error:
                self.gate.dismiss(error)  # first, so that the place that gets free tempts nobody
                self.gate.failed(ticket)
                raise
            except BaseException:
                self.gate.failed(ticket)
                raise
            self.gate.connected(ticket)
            self._settle_in(entry, session)
            return session

    def _brought_up(self, entry: Entry, task: "asyncio.Task[ConversationSession]") -> None:
        entry.task = None
        if task.cancelled() or task.exception() is not None:
            self._forget(entry)
            entry.session = None
            if entry.refusal is not None:  # and now nobody tries again
                self._tell(entry, entry.refusal)

    def _make(self, entry: Entry, start: ConnectRequest | SessionSnapshot | str) -> ConversationSession:
        entry.session = ConversationSession(
            self._conversations, start, self.settings, lambda events: self._hear(entry, events)
        )
        return entry.session

    def _settle_in(self, entry: Entry, session: ConversationSession) -> None:
        if session.ended.is_set():  # a snapshot's, or by its user while it was connecting
            self._forget(entry)
            self._give_back(entry)
        else:
            entry.settled = True
            self.live[session.id] = entry

    # How it goes on, and goes.

    def _hear(self, entry: Entry, events: list[SessionEvent]) -> None:
        last = events[-1]
        if isinstance(last, StateChanged) and self._will_try_again(entry, last):
            entry.refusal = events
            return
        self._tell(entry, events)

    def _tell(self, entry: Entry, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, StateChanged):
                self._count(entry, event)
        self.broadcast.hear(events)

    def _will_try_again(self, entry: Entry, event: StateChanged) -> bool:
        """Whether a connect was refused that waits for a slot: no end that anybody should hear of."""
        refused = event.end_reason is EndReason.CONNECT_FAILED and isinstance(event.cause, ConcurrencyLimitError)
        return refused and self._may_wait_again(entry)

    def _may_wait_again(self, entry: Entry) -> bool:
        """Whether what meets a full account waits for a slot."""
        return self.is_open and self.gate.takes_refusals and not entry.abandoned

    def _count(self, entry: Entry, event: StateChanged) -> None:
        if event.state is SessionState.BOT_READY:
            self.tally.count_ready(event, seen_from_start=entry.request is not None)
        elif event.end_reason is not None:
            session = entry.session
            polls, failures = (0, 0) if session is None else (session.polls, session.poll_failures)
            self.tally.count_end(event.end_reason, polls=polls, poll_failures=failures)
            if entry.settled and session is not None:
                self._let_go(entry, session)

    def _let_go(self, entry: Entry, session: ConversationSession) -> None:
        self._forget(entry)
        if self.live.get(session.id) is entry:  # what a service answers may be the id of another one
            del self.live[session.id]
        closer = asyncio.get_running_loop().create_task(session.close(), name="akapulu close")
        self.closers.add(closer)
        closer.add_done_callback(lambda closer: self._gone(entry, closer))

    def _gone(self, entry: Entry, closer: "asyncio.Task[bool]") -> None:
        """Give a session's place to the next: not before its participant left the room, which frees its slot."""
        self.closers.discard(closer)
        self._give_back(entry)

    def _give_back(self, entry: Entry) -> None:
        reason = entry.session and entry.session.end_reason
        entry.session = entry.task = None  # what is over is kept by nobody but its users
        if entry.request is not None:
            self.gate.ended()
        elif entry.settled and reason not in GOES_ON:
            self.gate.freed()

    def _forget(self, entry: Entry) -> None:
        self.entries.discard(entry)
        if not self.entries:
            self._idle.set()

    async def end(self, entry: Entry, reason: EndReason, *, shutdown: bool = False) -> None:
        """End a session, or its coming up, and wait until nothing of it runs. See `ConversationSession.close()`."""
        try:
            if entry.task is not None and not entry.task.done():
                entry.task.cancel()
                await settle((entry.task,), None)
        finally:
            if entry.session is not None:
                await entry.session.close(reason, shutdown=shutdown)
