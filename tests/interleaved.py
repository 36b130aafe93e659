"""What the state machines of session and manager share: a service whose clock stands still, and one loop for all rules.

By default there are as many examples as the suite has time for. For more::

    pytest --hypothesis-profile thorough --timeout 0 tests/test_session_machine.py tests/test_manager_machine.py
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from akapulu_async import (
    AkapuluClient,
    AkapuluError,
    ConnectOutcomeUnknownError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    InvalidResponseError,
    PollPolicy,
    RetryPolicy,
    SessionEndedError,
    SessionState,
)
from akapulu_async.simulator import Fault, Simulator
from tests.misbehaving import PATIENCE, REQUEST
from tests.steered import session_tasks

T = TypeVar("T")


def examples(count: int) -> settings:
    """Return the settings for so many examples by default, in proportion more if the profile says so."""
    usual = 100  # in Hypothesis' own default profile
    return settings(
        max_examples=count * settings().max_examples // usual,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],  # sockets
    )


FAULTS: tuple[dict[str, Any], ...] = (
    {"route": "connect", "status": 500},
    {"route": "connect", "status": 503},
    {"route": "connect", "reset": "before"},
    {"route": "connect", "reset": "after"},
    {"route": "connect", "truncate_at": 10},
    {"route": "connect", "headers": {"Content-Length": "10"}},
    {"route": "updates", "status": 500, "times": 2},
    {"route": "updates", "status": 404},
    {"route": "updates", "reset": "before", "times": 2},
    {"route": "updates", "truncate_at": 10},
    {"route": "updates", "body": "<html>"},
)
POLL = PollPolicy(interval=0.003, live_interval=0.003, max_failures=3)
RETRY = RetryPolicy(base=0.001, cap=0.002)

WHICH = st.integers(0, 20)
"""Which one of those there are: what is drawn must not depend on how far the sockets have come."""


@attrs.define(eq=False)
class Watched:
    """A session with tasks that wait for each of its states, and what was seen of it so far."""

    session: ConversationSession
    waits: "dict[SessionState, asyncio.Task[None]]"
    seen: dict[SessionState, float] = attrs.field(factory=dict)
    end: tuple[EndReason | None, BaseException | None] | None = None

    @classmethod
    def watch(cls, session: ConversationSession) -> "Watched":
        """Watch a session that was entered."""
        return cls(session, {state: asyncio.create_task(session.wait_for(state)) for state in SessionState})

    async def check(self) -> None:
        """See that states come in order and stay, that the end stays as it is, and that waits end."""
        session = self.session
        times = {state: session.elapsed(state) for state in SessionState}
        entered = {state: elapsed for state, elapsed in times.items() if elapsed is not None}
        assert session.state is [*entered][-1]
        assert [*entered.values()] == sorted(entered.values()), "each not before the one before it"
        assert SessionState.BOT_READY not in entered or SessionState.ROOM_JOINED in entered, "none is skipped"
        assert self.seen.items() <= entered.items(), "what was entered stays so"
        over = SessionState.ENDED in entered
        assert not (over and SessionState.ENDED in self.seen and entered != self.seen), "nothing comes after the end"
        assert over == (session.end_reason is not None)
        self.seen = entered
        if over:
            self.end = self.end or (session.end_reason, session.cause)
            assert self.end == (session.end_reason, session.cause), "the first end counts"
        await self._check_waits(over=over)

    async def _check_waits(self, *, over: bool) -> None:
        due = [task for state, task in self.waits.items() if over or state in self.seen]
        if due:
            _, late = await asyncio.wait(due, timeout=PATIENCE)
            assert not late, "a wait for what has come, or can no longer come, ends"
        for state, task in self.waits.items():
            if task in due:
                error = task.exception()
                assert error is None if state in self.seen else isinstance(error, SessionEndedError)


class Interleaved(RuleBasedStateMachine):
    """A simulator, a client of it, and what may happen at any time in between."""

    slots: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.requests = 0
        self.harmed = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.run(self._open())

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run the loop as long as something takes, which is not long."""
        return self.runner.run(_in_time(what))

    async def _open(self) -> None:
        self.sim = Simulator(speed=0, seed=1, ready_time=4, auto_join=False, max_concurrent=self.slots)
        await self.sim.__aenter__()
        self.client = AkapuluClient(self.sim.api_key, base_url=self.sim.base_url, poll=POLL, retry=RETRY)
        await self.client.open()

    def request(self) -> ConnectRequest:
        """Return a request that bears its number."""
        self.requests += 1
        variables = {"number": str(self.requests - 1)}
        return ConnectRequest(REQUEST.scenario_id, REQUEST.avatar_id, runtime_vars=variables)

    def task(self, what: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Set something going, which must have ended by the end of all."""
        task = self.runner.get_loop().create_task(what)
        self.tasks.append(task)
        return task

    def conversation(self, which: int) -> str | None:
        """Return the id of one that the service knows; None if it knows none yet."""
        ids = list(self.sim.conversations)
        return str(ids[which % len(ids)]) if ids else None

    # What may happen.

    @rule(seconds=st.sampled_from([1, 5, 5, 400]))
    def time_passes(self, seconds: int) -> None:
        self.sim.advance(seconds)

    @rule(turns=st.integers(1, 60))
    def loop_turns(self, turns: int) -> None:
        self.run(self._turn(turns))

    async def _turn(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    @rule(count=st.integers(1, 6), seconds=st.sampled_from([0, 3, 3]))
    def service_is_asked(self, count: int, seconds: int) -> None:
        """Wait for requests after some time, as long as somebody has any to make."""
        self.sim.advance(seconds)
        self.run(self._asked(self.sim.count() + count))

    async def _asked(self, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.05
        while self.sim.count() < wanted and loop.time() < until:  # noqa: ASYNC110 - it may never come
            await asyncio.sleep(0.001)

    @rule(fault=st.sampled_from(FAULTS))
    def service_fails(self, fault: dict[str, Any]) -> None:
        self.harmed = True
        self.sim.add_fault(Fault(**fault))

    @rule()
    def service_recovers(self) -> None:
        self.sim.clear_faults()

    @rule(which=WHICH)
    def conversation_ends(self, which: int) -> None:
        if (conversation := self.conversation(which)) is not None:
            self.sim.end(conversation)

    # The end of all.

    async def finish(self) -> None:
        """Close the client and the service; nothing is left of either."""
        await self.client.aclose()
        await self.sim.__aexit__(None, None, None)
        done = await asyncio.gather(*self.tasks, return_exceptions=True)
        for error in done:
            assert not isinstance(error, BaseException) or isinstance(error, AkapuluError | asyncio.CancelledError)
        assert session_tasks() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def check_no_twins(self) -> None:
        """See that no request made two conversations."""
        numbers = [view.request.runtime_vars["number"] for view in self.sim.conversations.values()]
        assert len(set(numbers)) == len(numbers)


async def _in_time(what: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(2 * PATIENCE):
        return await what


def in_doubt(error: BaseException | None) -> bool:
    """Whether an error says that a conversation may exist: its connect's answer was lost, or cannot be read."""
    unreadable = isinstance(error, InvalidResponseError) and 200 <= error.status < 300
    return isinstance(error, ConnectOutcomeUnknownError) or unreadable
