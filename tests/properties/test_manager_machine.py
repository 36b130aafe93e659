"""A manager under any interleaving of its users, the service and the network."""

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
    OVERTIME,
    REACHED,
    READY_TIME,
    SHORT_READY_TIMEOUT,
    WHICH,
    Interleaved,
    Watched,
    in_doubt,
    run_machine,
)

MOST = 3
SLOTS = 2
"""Fewer than the manager's places, so that it meets a full account."""

BUDGET = 300.0
"""Polls per second, if they are limited: fewer than one session would make."""

PATIENT = 0.3
"""Real seconds to wait for a start, which may have no place."""

OPENED = st.sampled_from([True, True, True, False])
"""Whether the manager is opened first."""


RUN_ENDED, RUN_LEFT, BLOCK_LEFT = WAYS = "a run to its end", "a run that was left early", "a block that was left"
"""Must be reached besides states and end reasons."""


class HandlerError(Exception):
    """Raised by handlers on purpose."""


@attrs.define(eq=False)
class Start:
    """A session that a user started."""

    task: "asyncio.Task[ConversationSession]"
    number: int | None
    """The number of its request; None if it was attached."""
    leave: asyncio.Event | None = None
    """Set to leave its block; None without a block."""
    entered: "asyncio.Future[ConversationSession] | None" = None
    """Done with the session when its block is entered; None without a block."""
    watched: Watched | None = None

    @property
    def session(self) -> ConversationSession | None:
        """The session, once it is connected or attached."""
        up = self.entered or self.task
        return up.result() if up.done() and not up.cancelled() and up.exception() is None else None


class AnyManager(Interleaved):
    """One manager with few places, on an account with fewer slots."""

    slots = SLOTS

    async def _open(self) -> None:
        await super()._open()
        self.starts: list[Start] = []
        self.handled: list[Watched] = []
        self.elsewhere: set[str] = set()
        """The numbers of the requests connected by other programs."""
        self.published: list[StateChanged] = []
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
            ready_timeout=None if patient else SHORT_READY_TIMEOUT,
            participant=self.sim.participant,
        )
        self.made = self.runner.get_loop().time()
        self.run(self._open_manager())

    async def _open_manager(self) -> None:
        await self.manager.open()
        if self.listening is None or self.listening.done():
            self.listening = asyncio.create_task(self._listen())
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        async for event in self.manager.events(buffer=100_000):
            assert not isinstance(event, EventsMissed)
            if isinstance(event, StateChanged):
                self.published.append(event)
                REACHED.update([event.end_reason] if event.end_reason is EndReason.CONNECT_FAILED else [])

    def one(self, which: int) -> Start | None:
        """Return one of the started sessions."""
        return self.starts[which % len(self.starts)] if self.starts else None

    def sessions(self) -> list[ConversationSession]:
        """Return all sessions that were connected or attached."""
        started = [start.session for start in self.starts]
        return [session for session in started if session is not None] + [watched.session for watched in self.handled]

    async def begin(self, which: int) -> ConversationSession | None:
        await self._make_room()
        start = self._start(PATIENT)
        await asyncio.wait([start.task])
        session = start.session
        return session if session is not None and session.end_reason is None else None

    async def _make_room(self) -> None:
        """Open the manager. If no session lives, end the conversations without one, so that a slot is free."""
        await self._open_manager()
        if not any(map(_lives, self.sessions())):
            self.sim.advance(OVERTIME)

    # Users

    @rule(patience=st.sampled_from([None, None, 0.005]), opened=OPENED)
    def start(self, patience: float | None, *, opened: bool) -> None:
        if opened:
            self.open_again()
        self._start(patience)

    def _start(self, patience: float | None) -> Start:
        task = self.task(self.manager.start(self.request(), timeout=patience))
        self.starts.append(Start(task, self.requests - 1))
        return self.starts[-1]

    @rule(rounds=st.integers(0, 40), opened=OPENED)
    def start_and_cancel(self, rounds: int, *, opened: bool) -> None:
        self.start(None, opened=opened)
        start = self.starts[-1]
        self.loop_runs(rounds)
        start.task.cancel()

    @rule(opened=OPENED)
    def enter_block(self, *, opened: bool) -> None:
        if opened:
            self.open_again()
        self._enter_block(None)

    @rule(cancelled=st.booleans())
    def pass_through_block(self, *, cancelled: bool) -> None:
        self.sim.clear_faults()
        self.sim.advance(OVERTIME)  # so that a slot is free
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
        await self._open_manager()
        start = self._enter_block(PATIENT)
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
        """Read the outcomes of some requests, or leave after a few: each request has one outcome."""
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
        # No user knows the id of a conversation whose connect is not answered yet.
        sessions = [entry.session for entry in self.manager._registry.entries if entry.session is not None]
        answered = all(session._lifecycle.session_id for session in sessions)
        if answered and (conversation := self.conversation(which)) is not None:
            self._attach(conversation)

    def _attach(self, conversation: str) -> None:
        self.starts.append(Start(self.task(self.manager.attach(conversation)), None))

    @rule()
    def attach_from_elsewhere(self) -> None:
        self.open_again()
        self.run(self._attach_from_elsewhere())

    async def _attach_from_elsewhere(self) -> "asyncio.Task[ConversationSession] | None":
        """Connect a conversation as another program, and attach to it if that worked."""
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
        self.sim.advance(OVERTIME)  # so that a slot is free
        self.open_again()
        self.run(self._nobody_joins())

    async def _nobody_joins(self) -> None:
        attaching = await self._attach_from_elsewhere()
        if attaching is not None:
            session = await attaching
            self.sim.advance(OVERTIME)
            await session.ended.wait()

    @rule(which=WHICH)
    def ready_timeout_passes(self, which: int) -> None:
        self.sim.clear_faults()
        if not self.patient:
            self.run(self._ready_timeout_passes(which))

    async def _ready_timeout_passes(self, which: int) -> None:
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

    @rule(rounds=st.none() | st.integers(0, 10))
    def drain(self, rounds: int | None) -> None:
        self.run(self.manager.drain(timeout=0))
        if rounds is None:
            self._start(None)  # is refused
        else:
            self.loop_runs(rounds)
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
        self.run(self._open_manager())

    # Invariants

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
        """A session is in the manager and found by its id exactly as long as it lives."""
        lives = session.end_reason is None
        assert (session in self.manager.sessions) == lives
        assert (self.manager.get(session.id) is session) == lives

    def _check_figures(self) -> None:
        """The statistics add up, and no more sessions live than allowed."""
        figures = self.manager.statistics()
        live = sum(figures.live.values())
        connected = sum(session.end_reason is None for session in self.manager.sessions)
        assert connected <= live <= connected + figures.live[SessionState.CONNECTING]
        started = [session for session in self.manager.sessions if isinstance(session._start, ConnectRequest)]
        assert sum(map(_lives, started)) <= MOST
        assert self.manager._registry.gate.admission.running <= MOST
        waiting_again = figures.started - sum(figures.ended.values()) - live
        refused = [entry for entry in self.manager._registry.entries if entry.session and not entry.connecting]
        assert 0 <= waiting_again <= len(refused)

    # The end of an example

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
        """Nothing is left in the manager, and each start returned or raised an error of the library."""
        figures, registry = self.manager.statistics(), self.manager._registry
        assert (self.manager.sessions, figures.waiting, sum(figures.live.values())) == ((), 0, 0)
        ends = sum(event.state is SessionState.ENDED for event in self.published)
        assert figures.started == sum(figures.ended.values()) == ends
        assert (registry.entries, registry.live, registry.closers, registry.gate.admission.running) == (
            set(),
            {},
            {},
            0,
        )
        for start in self.starts:
            if not start.task.cancelled():
                error = start.task.exception()
                assert error is None or isinstance(error, AkapuluError)

    def _check_budget(self) -> None:
        """No more polls were sent than the limit allows."""
        passed = asyncio.get_running_loop().time() - self.made
        burst = 0.1
        assert not self.bounded or self.sim.count("updates") <= BUDGET * (passed + burst) + 1

    def _check_known(self) -> None:
        """Each conversation has events with its id, unless an event reports that its connect's answer was lost."""
        self.check_no_twins()
        published = {event.session_id for event in self.published}
        ours = [
            str(session_id)
            for session_id, view in self.sim.conversations.items()
            if view.request.runtime_vars["number"] not in self.elsewhere
        ]
        unknown = [session_id for session_id in ours if session_id not in published]
        ends = [event.cause for event in self.published if event.state is SessionState.ENDED]
        given_up: list[Any] = [event for event in self.published if event.end_reason and event.session_id is None]
        assert len(unknown) <= sum(map(in_doubt, ends)) + (len(given_up) if self.harmed else 0)


def _lives(session: ConversationSession | None) -> bool:
    return session is not None and session.end_reason is None


ALL = [*SessionState, *EndReason, *WAYS]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "reached"), [(5, []), pytest.param(40, ALL, marks=pytest.mark.slow)])
def test_any_manager(count: int, reached: list[str]) -> None:
    """A manager keeps its promises whatever happens in whatever order, and every state and end is reached."""
    run_machine(AnyManager, count, reached)
