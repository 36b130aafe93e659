"""Sessions under any interleaving of what their users, the service and the network do."""

import asyncio
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from akapulu_async import ConfigurationError, ConversationSession, EndReason
from tests.interleaved import WHICH, Interleaved, Watched, examples, in_doubt


@attrs.define(eq=False)
class Tried:
    """A session that was set going."""

    number: int | None
    """Its request's; None if it was attached."""
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
        """Return one of those there are."""
        return self.tried[which % len(self.tried)] if self.tried else None

    @rule(joins=st.sampled_from([True, True, False]), patient=st.sampled_from([True, True, False]))
    def start(self, *, joins: bool, patient: bool) -> None:
        session = self.client.session(
            self.request(), participant=self.sim.participant if joins else None, ready_timeout=None if patient else 0.05
        )
        self.run(self._enter(session, self.requests - 1))

    @rule(which=WHICH)
    def attach(self, which: int) -> None:
        if (conversation := self.conversation(which)) is not None:
            self.run(self._enter(self.client.attach(conversation), None))

    @rule(turns=st.integers(0, 40))
    def start_and_cancel(self, turns: int) -> None:
        self.start(joins=True, patient=True)
        self.loop_turns(turns)
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
            except ConfigurationError:
                assert tried.session._lifecycle.session_id is None

    @invariant()
    def holds(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for tried in self.tried:
            await tried.watched.check()
            if tried.opening.done():
                self._check_opening(tried)

    def _check_opening(self, tried: Tried) -> None:
        """Who could not enter has a session that is over, and says why."""
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
        """Whoever asked for a conversation that the service made knows it, or was told of the doubt."""
        self.check_no_twins()
        tried = {one.number: one for one in self.tried if one.number is not None}
        for session_id, view in self.sim.conversations.items():
            one = tried[int(view.request.runtime_vars["number"])]
            if one.opening.cancelled() and self.harmed:
                continue  # the answer may have been lost after the cancel
            error: Any = None if one.opening.cancelled() else one.opening.exception()
            assert one.session._lifecycle.session_id == session_id or in_doubt(error)


TestAnySession = AnySession.TestCase
TestAnySession.settings = examples(20)
