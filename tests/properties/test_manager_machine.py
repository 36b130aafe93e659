"""A manager under any interleaving of what its users, the service and the network do."""

import asyncio
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from akapulu_async import (
    AkapuluError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    EventsMissed,
    FullPolicy,
    Outcome,
    SessionManager,
    SessionState,
    StateChanged,
)
from tests.support.interleaved import (
    HURRY,
    OVERTIME,
    REACHED,
    READY_TIME,
    WHICH,
    Interleaved,
    Watched,
    in_doubt,
    run_machine,
)

MOST = 3
SLOTS = 2
"""Fewer than the manager takes, so that it meets a full account."""

BUDGET = 300.0
"""Polls a second, where they are bounded: fewer than a session would make by itself."""

SOON = 0.05
"""Real seconds that a start may take where the next step needs it: it may wait for a place for ever."""

OPENED = st.sampled_from([True, True, True, False])
"""Whether the manager takes sessions, whatever was before."""


RUN_ENDED, RUN_LEFT, BLOCK_LEFT = WAYS = "a run to its end", "a run that was left early", "a block that was left"
"""What must be reached besides states and ends."""


class HandlerError(Exception):
    """What a handler raises that is meant to."""


@attrs.define(eq=False)
class Start:
    """A session that was asked for."""

    task: "asyncio.Task[ConversationSession]"
    number: int | None
    """Its request's; None if it was attached."""
    leave: asyncio.Event | None = None
    """Has its block left; None if it has none."""
    entered: "asyncio.Future[ConversationSession] | None" = None
    """Whether its block was entered, and with which session; None if it has none."""
    watched: Watched | None = None

    @property
    def session(self) -> ConversationSession | None:
        """The session, once it came up."""
        up = self.entered or self.task
        return up.result() if up.done() and not up.cancelled() and up.exception() is None else None


class AnyManager(Interleaved):
    """One manager, few places, fewer slots than are asked for."""

    slots = SLOTS

    async def _open(self) -> None:
        await super()._open()
        self.starts: list[Start] = []
        self.handled: list[Watched] = []
        self.elsewhere: set[str] = set()
        """The numbers of the requests that others connected."""
        self.heard: list[StateChanged] = []
        self.listening: asyncio.Task[None] | None = None

    @initialize(bounded=st.booleans(), patient=st.booleans())
    def make_manager(self, *, bounded: bool, patient: bool) -> None:
        self.bounded, self.patient = bounded, patient
        self.manager = SessionManager(
            self.client,
            max_sessions=MOST,
            max_polls_per_second=BUDGET if bounded else None,
            when_full="wait",
            full=FullPolicy(base=0.002, cap=0.01),
            ready_timeout=None if patient else HURRY,
            participant=self.sim.participant,
        )
        self.made = self.runner.get_loop().time()
        self.run(self._let_in())

    async def _let_in(self) -> None:
        await self.manager.open()
        if self.listening is None or self.listening.done():
            self.listening = asyncio.create_task(self._listen())
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        async for event in self.manager.events(buffer=100_000):
            assert not isinstance(event, EventsMissed)
            if isinstance(event, StateChanged):
                self.heard.append(event)
                REACHED.update([event.end_reason] if event.end_reason is EndReason.CONNECT_FAILED else [])

    def one(self, which: int) -> Start | None:
        """Return one of the sessions that were asked for."""
        return self.starts[which % len(self.starts)] if self.starts else None

    def sessions(self) -> list[ConversationSession]:
        """Return all sessions that came up."""
        started = [start.session for start in self.starts]
        return [session for session in started if session is not None] + [watched.session for watched in self.handled]

    async def begin(self, which: int) -> ConversationSession | None:
        await self._make_room()
        start = self._start(SOON)
        await asyncio.wait([start.task])
        session = start.session
        return session if session is not None and session.end_reason is None else None

    async def _make_room(self) -> None:
        """Take sessions; if none lives, let conversations that nobody holds give their slots back."""
        await self._let_in()
        if not any(map(_lives, self.sessions())):
            self.sim.advance(OVERTIME)

    # What users do.

    @rule(patience=st.sampled_from([None, None, 0.005]), opened=OPENED)
    def start(self, patience: float | None, *, opened: bool) -> None:
        if opened:
            self.open_again()
        self._start(patience)

    def _start(self, patience: float | None) -> Start:
        task = self.task(self.manager.start(self.request(), timeout=patience))
        self.starts.append(Start(task, self.requests - 1))
        return self.starts[-1]

    @rule(turns=st.integers(0, 40), opened=OPENED)
    def start_and_cancel(self, turns: int, *, opened: bool) -> None:
        self.start(None, opened=opened)
        start = self.starts[-1]
        self.loop_turns(turns)
        start.task.cancel()

    @rule(opened=OPENED)
    def enter_block(self, *, opened: bool) -> None:
        if opened:
            self.open_again()
        self._enter_block(None)

    @rule(cancelled=st.booleans())
    def pass_through_block(self, *, cancelled: bool) -> None:
        self.sim.clear_faults()
        self.sim.advance(OVERTIME)  # so that there is a slot
        self.run(self._pass_through_block(cancelled=cancelled))

    def _enter_block(self, patience: float | None) -> Start:
        leave, entered = asyncio.Event(), self.runner.get_loop().create_future()
        task = self.task(self._block(self.request(), patience, leave, entered))
        self.starts.append(Start(task, self.requests - 1, leave, entered))
        return self.starts[-1]

    async def _block(
        self,
        request: ConnectRequest,
        patience: float | None,
        leave: asyncio.Event,
        entered: "asyncio.Future[ConversationSession]",
    ) -> ConversationSession:
        async with self.manager.session(request, timeout=patience) as session:
            entered.set_result(session)
            await leave.wait()
        REACHED[BLOCK_LEFT] += 1
        assert session.end_reason is not None
        return session

    async def _pass_through_block(self, *, cancelled: bool) -> None:
        await self._let_in()
        start = self._enter_block(SOON)
        assert start.entered is not None
        assert start.leave is not None
        await asyncio.wait([start.task, start.entered], return_when=asyncio.FIRST_COMPLETED)
        if cancelled:
            start.task.cancel()
        else:
            start.leave.set()
        await asyncio.wait([start.task])

    @rule(which=WHICH)
    def leave_block(self, which: int) -> None:
        if leaves := [start.leave for start in self.starts if start.leave is not None]:
            leaves[which % len(leaves)].set()

    @rule(count=st.integers(1, 4), most=st.none() | st.integers(1, 2), opened=OPENED)
    def run_through(self, count: int, most: int | None, *, opened: bool) -> None:
        if opened:
            self.open_again()
        self.task(self._run_through([self.request() for _ in range(count)], most))

    async def _run_through(self, requests: list[ConnectRequest], most: int | None) -> None:
        """Work through some requests, or leave after a few: each has one outcome, its own."""
        outcomes: list[Outcome[None]] = []
        async with self.manager.run(requests, self._handle) as run:
            async for outcome in run:
                assert outcome.request is requests[outcome.index]
                assert outcome.session is None or outcome.session.end_reason is not None
                assert outcome.error is None or isinstance(outcome.error, AkapuluError | HandlerError)
                outcomes.append(outcome)
                if len(outcomes) == most:
                    REACHED[RUN_LEFT] += 1
                    return
        REACHED[RUN_ENDED] += 1
        assert sorted(outcome.index for outcome in outcomes) == [*range(len(requests))]

    async def _handle(self, session: ConversationSession) -> None:
        self.handled.append(Watched.watch(session))
        if len(self.handled) % 4 == 0:
            raise HandlerError
        if len(self.handled) % 2 == 0:
            self.sim.advance(READY_TIME + 1)
        await session.bot_ready.wait()

    @rule(which=WHICH, opened=OPENED)
    def attach(self, which: int, *, opened: bool) -> None:
        if opened:
            self.open_again()
        # Nobody can know the id of a conversation whose connect is still being answered.
        answered = all(session._lifecycle.session_id for session in self.manager.sessions)
        if answered and (conversation := self.conversation(which)) is not None:
            self._attach(conversation)

    def _attach(self, conversation: str) -> None:
        self.starts.append(Start(self.task(self.manager.attach(conversation)), None))

    @rule()
    def take_up_from_elsewhere(self) -> None:
        self.open_again()
        self.run(self._take_up())

    async def _take_up(self) -> "asyncio.Task[ConversationSession] | None":
        """Attach what was connected elsewhere, if it could be."""
        request = self.request()
        self.elsewhere.add(request.runtime_vars["number"])
        try:
            connection = await self.client.conversations.connect(request)
        except AkapuluError:
            return None
        self._attach(connection.conversation_session_id)
        return self.starts[-1].task

    @rule()
    def nobody_joins(self) -> None:
        self.sim.clear_faults()
        self.sim.advance(OVERTIME)  # so that there is a slot
        self.open_again()
        self.run(self._nobody_joins())

    async def _nobody_joins(self) -> None:
        taking = await self._take_up()
        if taking is not None:
            session = await taking
            self.sim.advance(OVERTIME)
            await session.ended.wait()

    @rule(which=WHICH)
    def patience_ends(self, which: int) -> None:
        self.sim.clear_faults()
        if not self.patient:
            self.run(self._patience_ends(which))

    async def _patience_ends(self, which: int) -> None:
        session = await self.begin(which) or await self.living(which)
        if session is not None and not session.bot_ready.is_set():
            await session.ended.wait()

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if (start := self.one(which)) is not None:
            start.task.cancel()

    @rule(which=WHICH)
    def end(self, which: int) -> None:
        if sessions := self.sessions():
            self.task(sessions[which % len(sessions)].end())

    @rule(turns=st.none() | st.integers(0, 10))
    def drain(self, turns: int | None) -> None:
        self.run(self.manager.drain(timeout=0))
        if turns is None:
            self._start(None)  # which is refused
        else:
            self.loop_turns(turns)
            self.open_again()

    @rule()
    def close(self) -> None:
        self.run(self._close())

    async def _close(self) -> None:
        await self.manager.aclose()
        assert self.listening is not None
        await self.listening
        assert self.manager.sessions == ()
        assert all(session.end_reason is not None for session in self.sessions())

    @rule()
    def open_again(self) -> None:
        self.run(self._let_in())

    # What must hold.

    @invariant()
    def holds(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for start in self.starts:
            if start.watched is None and start.session is not None:
                start.watched = Watched.watch(start.session)
        await asyncio.sleep(0)
        for watched in [*self.handled, *(start.watched for start in self.starts)]:
            if watched is not None:
                await watched.check()
                self._check_kept(watched.session)
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
        connected = sum(session.end_reason is None for session in self.manager.sessions)
        assert connected <= live <= connected + figures.live[SessionState.CONNECTING]
        started = [session for session in self.manager.sessions if isinstance(session._start, ConnectRequest)]
        assert sum(map(_lives, started)) <= MOST
        assert self.manager._registry.gate.running <= MOST
        waiting_again = figures.started - sum(figures.ended.values()) - live
        refused = [entry for entry in self.manager._registry.entries if entry.session and not entry.connecting]
        assert 0 <= waiting_again <= len(refused)

    # The end of all.

    def teardown(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self.runner.close()

    async def _finish(self) -> None:
        await self._close()
        for start in self.starts:
            if start.leave is not None:
                start.leave.set()
        if self.starts:
            await asyncio.wait([start.task for start in self.starts])
        await self._check()
        self._check_budget()
        self._check_empty()
        self._check_known()
        await self.finish()

    def _check_empty(self) -> None:
        """Nothing is left in the manager, and each start came to an end of its own kind."""
        figures, registry = self.manager.statistics(), self.manager._registry
        assert (self.manager.sessions, figures.waiting, sum(figures.live.values())) == ((), 0, 0)
        ends = sum(event.state is SessionState.ENDED for event in self.heard)
        assert figures.started == sum(figures.ended.values()) == ends
        assert (registry.entries, registry.live, registry.closers, registry.gate.running) == (set(), {}, set(), 0)
        for start in self.starts:
            if not start.task.cancelled():
                error = start.task.exception()
                assert error is None or isinstance(error, AkapuluError)

    def _check_budget(self) -> None:
        """No more polls were sent than the manager may send."""
        passed = asyncio.get_running_loop().time() - self.made
        burst = 0.1
        assert not self.bounded or self.sim.count("updates") <= BUDGET * (passed + burst) + 1

    def _check_known(self) -> None:
        """Each conversation was heard of under its id, or its connect's answer was lost, and that was heard."""
        self.check_no_twins()
        heard = {event.session_id for event in self.heard}
        ours = [
            str(session_id)
            for session_id, view in self.sim.conversations.items()
            if view.request.runtime_vars["number"] not in self.elsewhere
        ]
        unknown = [session_id for session_id in ours if session_id not in heard]
        ends = [event.cause for event in self.heard if event.state is SessionState.ENDED]
        given_up: list[Any] = [event for event in self.heard if event.end_reason and event.session_id is None]
        assert len(unknown) <= sum(map(in_doubt, ends)) + (len(given_up) if self.harmed else 0)


def _lives(session: ConversationSession | None) -> bool:
    return session is not None and session.end_reason is None


@pytest.mark.timeout(120)  # where others take the processor
def test_any_manager() -> None:
    """Whatever happens in whatever order, a manager keeps its promises, and all that can become of a session does."""
    run_machine(AnyManager, 40, [*SessionState, *EndReason, *WAYS])
