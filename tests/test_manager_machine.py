"""A manager under any interleaving of what its users, the service and the network do."""

import asyncio
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from akapulu_async import (
    AkapuluError,
    ConnectRequest,
    ConversationSession,
    EventsMissed,
    FullPolicy,
    SessionManager,
    SessionState,
    StateChanged,
)
from tests.interleaved import WHICH, Interleaved, Watched, examples, in_doubt

MOST = 3
SLOTS = 2
"""Fewer than the manager takes, so that it meets a full account."""


@attrs.define(eq=False)
class Start:
    """A session that was asked for."""

    task: "asyncio.Task[ConversationSession]"
    number: int | None
    """Its request's; None if it was attached."""
    leave: asyncio.Event | None = None
    """Has its block left; None if it has none."""
    watched: Watched | None = None


class AnyManager(Interleaved):
    """One manager, few places, fewer slots than are asked for."""

    slots = SLOTS

    async def _open(self) -> None:
        await super()._open()
        self.starts: list[Start] = []
        self.heard: list[StateChanged] = []
        self.manager = SessionManager(
            self.client,
            max_sessions=MOST,
            when_full="wait",
            full=FullPolicy(base=0.002, cap=0.01),
            participant=self.sim.participant,
        )
        await self.manager.open()
        self.listening = self.task(self._listen())
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        async for event in self.manager.events(buffer=100_000):
            assert not isinstance(event, EventsMissed)
            if isinstance(event, StateChanged):
                self.heard.append(event)

    def one(self, which: int) -> Start | None:
        """Return one of the sessions that were asked for."""
        return self.starts[which % len(self.starts)] if self.starts else None

    def session(self, which: int) -> ConversationSession | None:
        """Return the session of one that came up."""
        start = self.one(which)
        if start is None or start.leave is not None or not start.task.done() or start.task.cancelled():
            return None
        return start.task.result() if start.task.exception() is None else None

    # What users do.

    @rule(patience=st.sampled_from([None, None, 0.005]))
    def start(self, patience: float | None) -> None:
        task = self.task(self.manager.start(self.request(), timeout=patience))
        self.starts.append(Start(task, self.requests - 1))

    @rule(turns=st.integers(0, 40))
    def start_and_cancel(self, turns: int) -> None:
        self.start(None)
        self.loop_turns(turns)
        self.starts[-1].task.cancel()

    @rule()
    def enter_block(self) -> None:
        leave = asyncio.Event()
        self.starts.append(Start(self.task(self._block(self.request(), leave)), self.requests - 1, leave))

    async def _block(self, request: ConnectRequest, leave: asyncio.Event) -> ConversationSession:
        async with self.manager.session(request) as session:
            await leave.wait()
        assert session.end_reason is not None
        return session

    @rule(which=WHICH)
    def leave_block(self, which: int) -> None:
        start = self.one(which)
        if start is not None and start.leave is not None:
            start.leave.set()

    @rule(which=WHICH)
    def attach(self, which: int) -> None:
        # Nobody can know the id of a conversation whose connect is still being answered.
        answered = all(session._lifecycle.session_id for session in self.manager.sessions)
        if answered and (conversation := self.conversation(which)) is not None:
            self.starts.append(Start(self.task(self.manager.attach(conversation)), None))

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if (start := self.one(which)) is not None:
            start.task.cancel()

    @rule(which=WHICH)
    def end(self, which: int) -> None:
        if (session := self.session(which)) is not None:
            self.task(session.end())

    @rule(turns=st.none() | st.integers(0, 10))
    def drain(self, turns: int | None) -> None:
        self.run(self.manager.drain(timeout=0))
        if turns is not None:
            self.loop_turns(turns)
            self.open_again()

    @rule()
    def open_again(self) -> None:
        self.run(self.manager.open())

    # What must hold.

    @invariant()
    def holds(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for start in self.starts:
            if start.task.done() and not start.task.cancelled() and start.task.exception() is None:
                start.watched = start.watched or Watched.watch(start.task.result())
        await asyncio.sleep(0)
        for start in self.starts:
            if start.watched is not None:
                await start.watched.check()
                self._check_kept(start.watched.session)
        self._check_figures()

    def _check_kept(self, session: ConversationSession) -> None:
        """A session that lives is in the manager, and found by its id; one that ended is not."""
        lives = session.end_reason is None
        assert (session in self.manager.sessions) == lives
        assert (self.manager.get(session.id) is session) == lives

    def _check_figures(self) -> None:
        """The figures add up, and no more sessions live than may."""
        figures = self.manager.statistics()
        live = sum(figures.live.values())
        assert live == sum(session.end_reason is None for session in self.manager.sessions)
        started = [session for session in self.manager.sessions if isinstance(session._start, ConnectRequest)]
        assert sum(map(_lives, started)) <= MOST
        assert self.manager._roster.door.running <= MOST
        waiting_again = figures.started - sum(figures.ended.values()) - live
        refused = [entry for entry in self.manager._roster.entries if entry.tries and not _lives(entry.session)]
        assert 0 <= waiting_again <= len(refused)

    # The end of all.

    def teardown(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self.runner.close()

    async def _finish(self) -> None:
        await self.manager.aclose()
        for start in self.starts:
            if start.leave is not None:
                start.leave.set()
        if self.starts:
            await asyncio.wait([start.task for start in self.starts])
        await self.listening
        await self._check()
        self._check_empty()
        self._check_known()
        await self.finish()

    def _check_empty(self) -> None:
        """Nothing is left in the manager, and each start came to an end of its own kind."""
        figures, roster = self.manager.statistics(), self.manager._roster
        assert (self.manager.sessions, figures.waiting, sum(figures.live.values())) == ((), 0, 0)
        ends = sum(event.state is SessionState.ENDED for event in self.heard)
        assert figures.started == sum(figures.ended.values()) == ends
        assert (roster.entries, roster.live, roster.closers, roster.door.running) == (set(), {}, set(), 0)
        for start in self.starts:
            if not start.task.cancelled():
                error = start.task.exception()
                assert error is None or isinstance(error, AkapuluError)

    def _check_known(self) -> None:
        """Each conversation was heard of under its id, or its connect's answer was lost, and that was heard."""
        self.check_no_twins()
        heard = {event.session_id for event in self.heard}
        unknown = [session_id for session_id in map(str, self.sim.conversations) if session_id not in heard]
        ends = [event.cause for event in self.heard if event.state is SessionState.ENDED]
        given_up: list[Any] = [event for event in self.heard if event.end_reason and event.session_id is None]
        assert len(unknown) <= sum(map(in_doubt, ends)) + (len(given_up) if self.harmed else 0)


def _lives(session: ConversationSession | None) -> bool:
    return session is not None and session.end_reason is None


TestAnyManager = AnyManager.TestCase
TestAnyManager.settings = examples(40)
