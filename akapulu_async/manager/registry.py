"""The sessions of a manager: their start, their events and their end."""

import asyncio
from collections.abc import Callable, Container
from contextlib import suppress
from functools import partial
from weakref import WeakSet

import attrs

from akapulu_async.errors import AkapuluError, ManagerClosedError, MinutesLimitError, StartTimeoutError
from akapulu_async.limits import patience
from akapulu_async.manager.broadcast import Subscription
from akapulu_async.manager.gate import StartGate
from akapulu_async.models.connection import ConnectRequest, check_request
from akapulu_async.resources.conversations import Conversations
from akapulu_async.sansio.lifecycle import EndReason, SessionEvent, SessionState, StateChanged
from akapulu_async.sansio.snapshot import SessionSnapshot
from akapulu_async.sansio.statistics import Tally
from akapulu_async.session import ConversationSession, SessionSettings
from akapulu_async.tasks import callers, settle, user_code

CONTINUES = frozenset({EndReason.LEFT, EndReason.CANCELLED, EndReason.READY_TIMEOUT})
"""Ends of an attached session after which its conversation may continue and hold its slot."""


@attrs.define(eq=False, repr=False)
class Entry:
    """One session of the manager, from the request to start it until its tasks are done."""

    attached: bool
    """True if its conversation was connected elsewhere."""
    session: ConversationSession | None = None
    """None while it waits for its first admission."""
    task: "asyncio.Task[ConversationSession] | None" = None
    connecting: bool = False
    """True while its connect is under way, and after it succeeded or was made elsewhere; False while it waits."""
    abandoned: bool = False
    """True if its caller stopped waiting for it."""
    settled: bool = False
    """True once it was started or attached."""
    holder: "asyncio.Task[object] | None" = None
    """The user code whose block the session lives in; None if there is none."""

    def is_attended_by(self, tasks: Container[object]) -> bool:
        """See `ConversationSession.is_attended_by()`."""
        return self.session is not None and self.session.is_attended_by(tasks)

    def waits_for(self, tasks: Container[object]) -> bool:
        """Return True if one of these tasks holds the session, or is that of its participant."""
        return self.holder in tasks or self.is_attended_by(tasks)


class SessionRegistry:
    """Owns the sessions, and the tasks that start and close them. Not thread-safe."""

    def __init__(self, conversations: Conversations, settings: SessionSettings, gate: StartGate) -> None:
        self._conversations = conversations
        self.settings = settings
        self.gate = gate
        self.entries: set[Entry] = set()  # all that wait, connect or run
        self.live: dict[str, ConversationSession] = {}  # the connected ones, by id
        self._attaching: dict[str, Entry] = {}  # those whose first poll is under way, by id
        self.closers: dict[asyncio.Task[None], Entry] = {}  # end sessions, and wait for the tasks of ended ones
        self.listeners: WeakSet[Subscription] = WeakSet()
        self.tally = Tally()
        self.is_open = False  # whether sessions are accepted
        self._awaited: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def check_open(self) -> None:
        """Raise ManagerClosedError unless sessions are accepted."""
        if not self.is_open:
            raise ManagerClosedError(
                "the session manager accepts no sessions: it is not open, or it was closed or drained"
            )

    def waits_for(self, tasks: Container[object]) -> bool:
        """Return True if a session ends only after one of these tasks."""
        return any(entry.waits_for(tasks) for entry in (*self.entries, *self.closers.values()))

    def is_idle(self, left_out: Container[object]) -> bool:
        """Return True if no session, and no task of one, is left. Those that wait for `left_out` do not count."""
        return all(entry.waits_for(left_out) for entry in self.entries) and all(
            entry.is_attended_by(left_out) for entry in self.closers.values()
        )

    def when(self, condition: Callable[[], bool]) -> "asyncio.Future[None]":
        """Return a future that is done once a condition holds. Cancel it if you stop waiting."""
        future = asyncio.get_running_loop().create_future()
        self._awaited[future] = condition
        self.changed()
        return future

    def changed(self) -> None:
        """Check the conditions that are awaited."""
        for future, condition in tuple(self._awaited.items()):
            if future.done() or condition():
                del self._awaited[future]
                if not future.done():
                    future.set_result(None)

    async def attach(self, start: SessionSnapshot | str) -> ConversationSession:
        """Return the session of a conversation that was connected elsewhere: an existing one, or a new one."""
        self.check_open()
        session_id = start if isinstance(start, str) else start.session_id
        known = self.live.get(session_id)
        if known is not None:
            return known
        entry = self._attaching.get(session_id)
        if entry is None:
            entry = self._attaching[session_id] = Entry(attached=True, connecting=True)
            self.entries.add(entry)
            self.tally.started += 1
            entry.task = asyncio.get_running_loop().create_task(self._attach(entry, start), name="akapulu attach")
            entry.task.add_done_callback(partial(self._on_started, entry))
            entry.task.add_done_callback(lambda _: self._attaching.pop(session_id))
        return await self.wait(entry, None, keep=True)

    async def _attach(self, entry: Entry, start: SessionSnapshot | str) -> ConversationSession:
        session = entry.session = ConversationSession(
            self._conversations, start, self.settings, listener=partial(self._on_events, entry)
        )
        await session.open()
        self._settle(entry, session)
        return session

    def start(self, request: ConnectRequest, *, held: bool = False) -> Entry:
        """Start a session in a task of its own. `held`: the caller ends it."""
        self.check_open()
        check_request(request)
        entry = Entry(attached=False, holder=callers()[-1] if held and callers() else None)
        self.entries.add(entry)
        entry.task = asyncio.get_running_loop().create_task(self._start(entry, request), name="akapulu start")
        entry.task.add_done_callback(partial(self._on_started, entry))
        return entry

    async def wait(self, entry: Entry, timeout: float | None, *, keep: bool) -> ConversationSession:
        """Wait until a session is connected. A connect that is under way survives a cancel of this wait.

        `keep` says whether its session then stays in the manager; it is for the text of the `StartTimeoutError`.
        """
        task = entry.task
        assert task is not None
        try:
            with suppress(TimeoutError), patience(timeout):
                await asyncio.wait((task,))
        finally:
            entry.abandoned = not task.done()
            if entry.abandoned and not entry.connecting:
                task.cancel()
        if entry.abandoned:
            if not entry.connecting:
                await settle((task,), None)
            raise StartTimeoutError(
                timeout=timeout or 0.0,
                connecting=entry.connecting,
                goes_on=entry.connecting and keep,
                running=self.gate.admission.running,
                waiting=self.gate.admission.waiting,
            )
        if task.cancelled():
            raise ManagerClosedError("the session manager was closed while the session was connecting")
        try:
            return task.result()
        finally:
            del task  # the frames of an error would keep it, and it the error

    async def wait_or_end(self, entry: Entry, timeout: float | None) -> ConversationSession:
        """Wait until a session is connected, as `wait()`; if that is cancelled or times out, end the session.

        A note on the error names the conversation, if it was connected meanwhile.
        """
        try:
            return await self.wait(entry, timeout, keep=False)
        except (asyncio.CancelledError, StartTimeoutError) as error:
            session = entry.session
            await self.end(entry, EndReason.CANCELLED)
            if session is not None:
                session.name_on(error)
            raise

    async def _start(self, entry: Entry, request: ConnectRequest) -> ConversationSession:
        self.check_open()  # again: it may have been closed before this task ran
        ticket = await self.gate.enter()
        session = entry.session = ConversationSession(
            self._conversations,
            request,
            self.settings,
            listener=partial(self._on_events, entry),
            try_again=partial(self._wait_for_slot, entry, ticket),
        )
        entry.connecting = True
        self.tally.started += 1
        try:
            await session.open()
        except BaseException as error:
            if isinstance(error, AkapuluError) and error.outcome_unknown:
                self.tally.unknown_connects += 1
            if isinstance(error, MinutesLimitError):
                self.gate.dismiss(error)  # before the place is freed, so that it admits nobody
            if entry.connecting:
                self.gate.failed(ticket)
            raise
        self.gate.connected(ticket)
        self._settle(entry, session)
        return session

    async def _wait_for_slot(self, entry: Entry, ticket: int) -> bool:
        """Wait for a slot after the account was full. Returns False if the start must not be tried again."""
        if entry.abandoned or not self.is_open or self.gate.admission.full is None:
            return False
        entry.connecting = False
        await self.gate.enter_again(ticket)
        entry.connecting = True
        return True

    def _on_started(self, entry: Entry, task: "asyncio.Task[ConversationSession]") -> None:
        entry.task = None
        if task.cancelled() or task.exception() is not None:
            self._forget(entry)
            entry.session = None

    def _settle(self, entry: Entry, session: ConversationSession) -> None:
        entry.settled = True
        self.live[session.id] = session
        if session.ended.is_set():  # an ended snapshot, or its poller or participant ended it at once
            self._close(entry, session)

    def _on_events(self, entry: Entry, events: list[SessionEvent]) -> None:
        session = entry.session
        assert session is not None
        for event in events:
            if not isinstance(event, StateChanged):
                continue
            if event.state is SessionState.BOT_READY:
                self.tally.count_ready(event, seen_from_start=not entry.attached)
            elif event.end_reason is not None:
                self.tally.count_end(event.end_reason, polls=session.polls, poll_failures=session.poll_failures)
                if entry.settled:
                    self._close(entry, session)
        for listener in self.listeners:
            listener.publish(events)

    def _close(self, entry: Entry, session: ConversationSession) -> None:
        if self.live.get(session.id) is session:  # the service may have given one id to two conversations
            del self.live[session.id]
        closer = asyncio.get_running_loop().create_task(self._free(entry, session), name="akapulu close")
        self._add_closer(closer, entry)
        self._forget(entry)

    def _add_closer(self, closer: "asyncio.Task[None]", entry: Entry) -> None:
        self.closers[closer] = entry
        closer.add_done_callback(self._on_closed)

    def _on_closed(self, closer: "asyncio.Task[None]") -> None:
        del self.closers[closer]
        self.changed()

    async def _free(self, entry: Entry, session: ConversationSession) -> None:
        """Free the slot of an ended session, once its participant has left the room."""
        user_code.set(())  # this is not the user's, even if it was a participant that ended the session
        try:
            await session.close()
        finally:
            entry.session = None  # only its users keep an ended session
            # An ended snapshot, which is not polled, freed no slot here.
            if not entry.attached or (session.polls and session.end_reason not in CONTINUES):
                self.gate.ended(started_here=not entry.attached)

    def _forget(self, entry: Entry) -> None:
        self.entries.discard(entry)
        self.changed()

    def end_all(self) -> None:
        """End all sessions and starts, each in a task of its own."""
        loop = asyncio.get_running_loop()
        for entry in tuple(self.entries):
            ending = self.end(entry, EndReason.LEFT, shutdown=True)
            self._add_closer(loop.create_task(ending, name="akapulu end"), entry)

    async def end(self, entry: Entry, reason: EndReason, *, shutdown: bool = False) -> None:
        """End a session or its start, and wait until its tasks are done. See `ConversationSession.close()`."""
        try:
            if entry.task is not None:
                entry.task.cancel()
                await settle((entry.task,), None)
        finally:
            if entry.session is not None:
                await entry.session.close(reason, shutdown=shutdown)
