"""Sessions under any interleaving of their users, the service and the network."""

import asyncio
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from akapulu_async import ClosedError, ConversationSession, EndReason, SessionState
from tests.support.interleaved import OVERTIME, SHORT_READY_TIMEOUT, WHICH, Interleaved, Watched, in_doubt, run_machine


@attrs.define(eq=False)
class Tried:
    """A session that was started."""

    number: int | None
    """The number of its request; None if it was attached."""
    opening: "asyncio.Task[None]"
    watched: Watched

    @property
    def session(self) -> ConversationSession:
        """The session."""
        return self.watched.session


class AnySession(Interleaved):
    """Sessions of one client, in any number."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[Tried] = []

    async def _enter(self, session: ConversationSession, number: int | None) -> None:
        opening = self.task(session.open())
        await asyncio.sleep(0)
        self.tried.append(Tried(number, opening, Watched.watch(session)))

    def one(self, which: int) -> Tried | None:
        """Return one of the started sessions."""
        return self.tried[which % len(self.tried)] if self.tried else None

    def sessions(self) -> list[ConversationSession]:
        return [tried.session for tried in self.tried if tried.opening.done() and tried.session._lifecycle.session_id]

    async def begin(self, which: int) -> ConversationSession | None:
        return await self._begin(joins=which % 3 > 0, patient=which % 2 > 0)

    async def _begin(self, *, joins: bool, patient: bool) -> ConversationSession | None:
        await self._start(joins=joins, patient=patient)
        tried = self.tried[-1]
        await asyncio.wait([tried.opening])
        return tried.session if tried.session.end_reason is None else None

    @rule(joins=st.sampled_from([True, True, False]), patient=st.sampled_from([True, True, False]))
    def start(self, *, joins: bool, patient: bool) -> None:
        self.run(self._start(joins=joins, patient=patient))

    async def _start(self, *, joins: bool, patient: bool) -> None:
        session = self.client.session(
            self.request(),
            participant=self.sim.participant if joins else None,
            ready_timeout=None if patient else SHORT_READY_TIMEOUT,
        )
        await self._enter(session, self.requests - 1)

    @rule(patient=st.booleans())
    def nobody_joins(self, *, patient: bool) -> None:
        self.run(self._nobody_joins(patient=patient))

    async def _nobody_joins(self, *, patient: bool) -> None:
        """Wait for the end of a session by its ready timeout or by the service's join timeout."""
        session = await self._begin(joins=False, patient=patient)
        if session is not None:
            self.sim.advance(OVERTIME if patient else 0)
            await session.ended.wait()

    @rule(which=WHICH)
    def attach(self, which: int) -> None:
        if (conversation := self.conversation(which)) is not None:
            self.run(self._enter(self.client.attach(conversation), None))

    @rule(rounds=st.just(0) | st.integers(0, 40))
    def start_and_cancel(self, rounds: int) -> None:
        self.start(joins=True, patient=True)
        self.loop_runs(rounds)
        self.tried[-1].opening.cancel()

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if (tried := self.one(which)) is not None:
            tried.opening.cancel()

    @rule(which=WHICH)
    def end(self, which: int) -> None:
        if (tried := self.one(which)) is not None:
            self.task(tried.session.end())

    @rule(which=WHICH)
    def say_joined(self, which: int) -> None:
        if (tried := self.one(which)) is not None:
            try:
                tried.session.mark_room_joined()
            except ClosedError:
                assert tried.session._lifecycle.session_id is None

    @rule()
    def client_is_closed_and_opened(self) -> None:
        self.run(self._reopen())

    async def _reopen(self) -> None:
        await self.client.aclose()
        await self.client.open()

    @invariant()
    def holds(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for tried in self.tried:
            await tried.watched.check()
            if tried.opening.done():
                self._check_opening(tried)

    def _check_opening(self, tried: Tried) -> None:
        """A session that could not be entered has ended, with the error as its cause."""
        session = tried.session
        if tried.opening.cancelled():
            assert session.end_reason in {EndReason.CANCELLED, EndReason.LEFT}
        elif (error := tried.opening.exception()) is not None:
            assert session.end_reason is not None
            assert session.end_reason is not EndReason.CONNECT_FAILED or session.cause is error

    def teardown(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self.runner.close()

    async def _finish(self) -> None:
        await asyncio.wait([tried.opening for tried in self.tried] or [asyncio.create_task(asyncio.sleep(0))])
        for tried in self.tried:
            await tried.session.end()
        await self._check()
        self._check_known()
        await self.finish()

    def _check_known(self) -> None:
        """The user of each conversation that the service made knows it, or got an error that says it may exist."""
        self.check_no_twins()
        tried = {one.number: one for one in self.tried if one.number is not None}
        for session_id, view in self.sim.conversations.items():
            one = tried[int(view.request.runtime_vars["number"])]
            if one.opening.cancelled() and self.harmed:
                continue  # the answer may have been lost after the cancel
            error: Any = None if one.opening.cancelled() else one.opening.exception()
            assert one.session._lifecycle.session_id == session_id or in_doubt(error)


ALL = [*SessionState, *EndReason]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "reached"), [(5, []), pytest.param(30, ALL, marks=pytest.mark.slow)])
def test_any_session(count: int, reached: list[str]) -> None:
    """A session keeps its promises whatever happens in whatever order, and every state and end is reached."""
    run_machine(AnySession, count, reached)
