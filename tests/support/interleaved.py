"""The common parts of the state machines of session and manager: a simulator that stands still, and one event loop.

For more examples than the suite runs::

    pytest --hypothesis-profile thorough --timeout 0 tests/properties

With `CI=true` the examples are the same each time, and must reach each state and each end reason.
"""

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

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
from akapulu_async.simulator import ConversationState, Fault, Simulator
from tests.support.managed import loop_rounds
from tests.support.misbehaving import PATIENCE, REQUEST
from tests.support.steered import session_tasks

T = TypeVar("T")


REACHED: Counter[str] = Counter()
"""What the running machine has reached: the states of its sessions and their end reasons."""


def run_machine(machine: "type[Interleaved]", count: int, reach: Iterable[str]) -> None:
    """Run this many examples of a machine. If they are the same each time, check what they reach."""
    REACHED.clear()
    chosen = examples(count)
    run_state_machine_as_test(machine, settings=chosen)
    missed = set(reach) - set(REACHED) if chosen.derandomize else set()
    assert not missed, f"never reached: {missed}"


def examples(count: int) -> settings:
    """Return settings with this many examples, or proportionally more if the profile says so."""
    usual = settings.get_profile("suite").max_examples
    return settings(
        max_examples=max(count, count * settings().max_examples // usual),
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
READY_TIME = 4
LIMIT = 300
"""Simulated seconds: the longest call, and the longest wait for a participant."""

OVERTIME = 400
"""Simulated seconds after which any call is over."""

SHORT_READY_TIMEOUT = 0.02
"""Real seconds: whether a bot gets ready in time is left open."""

POLL = PollPolicy(interval=0.003, live_interval=0.003, max_failures=3)
RETRY = RetryPolicy(base=0.001, cap=0.002)

WHICH = st.integers(0, 20)
"""Selects one of those that exist. What Hypothesis draws must not depend on how far the sockets are."""


@attrs.define(eq=False)
class Watched:
    """A session, tasks that wait for each of its states, and what was seen of it so far."""

    session: ConversationSession
    waits: "dict[SessionState, asyncio.Task[None]]"
    seen: dict[SessionState, float] = attrs.field(factory=dict)
    end: tuple[EndReason | None, BaseException | None] | None = None

    @classmethod
    def watch(cls, session: ConversationSession) -> "Watched":
        """Watch a session that was entered."""
        return cls(session, {state: asyncio.create_task(session.wait_for(state)) for state in SessionState})

    async def check(self) -> None:
        """Check that states come in order and stay, that the end stays as it is, and that waits end."""
        session = self.session
        times = {state: session.elapsed(state) for state in SessionState}
        entered = {state: elapsed for state, elapsed in times.items() if elapsed is not None}
        assert session.state is [*entered][-1]
        assert [*entered.values()] == sorted(entered.values()), "each not before the one before it"
        assert SessionState.BOT_READY not in entered or SessionState.ROOM_JOINED in entered, "none is skipped"
        assert self.seen.items() <= entered.items(), "entered states stay entered"
        REACHED.update(entered.keys() - self.seen.keys())
        over = SessionState.ENDED in entered
        assert not (over and SessionState.ENDED in self.seen and entered != self.seen), "nothing comes after the end"
        assert over == (session.end_reason is not None)
        self.seen = entered
        if over:
            REACHED.update([session.end_reason] if self.end is None and session.end_reason else [])
            self.end = self.end or (session.end_reason, session.cause)
            assert self.end == (session.end_reason, session.cause), "the end does not change"
        await self._check_waits(over=over)

    async def _check_waits(self, *, over: bool) -> None:
        due = [task for state, task in self.waits.items() if over or state in self.seen]
        if due:
            _, late = await asyncio.wait(due, timeout=PATIENCE)
            assert not late, "a wait hangs, although its state was entered or can no longer be"
        for state, task in self.waits.items():
            if task in due:
                error = task.exception()
                assert error is None if state in self.seen else isinstance(error, SessionEndedError)


class Interleaved(RuleBasedStateMachine):
    """A simulator, a client of it, and steps that may happen at any time."""

    slots: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.requests = 0
        self.harmed = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.run(self._open())

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run the loop until a step is done."""
        return self.runner.run(_in_time(step))

    async def _open(self) -> None:
        self.sim = Simulator(
            speed=0,
            seed=1,
            ready_time=READY_TIME,
            auto_join=False,
            max_concurrent=self.slots,
            max_call_seconds=LIMIT,
            participant_join_timeout=LIMIT,
        )
        await self.sim.__aenter__()
        self.client = AkapuluClient(self.sim.api_key, base_url=self.sim.base_url, poll=POLL, retry=RETRY)
        await self.client.open()

    def request(self) -> ConnectRequest:
        """Return a request with a number of its own."""
        self.requests += 1
        variables = {"number": str(self.requests - 1)}
        return ConnectRequest(REQUEST.scenario_id, REQUEST.avatar_id, runtime_vars=variables)

    def task(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task that must be done when the example ends."""
        task = self.runner.get_loop().create_task(coroutine)
        self.tasks.append(task)
        return task

    def conversation(self, which: int) -> str | None:
        """Return the id of a conversation of the service; None if there is none yet."""
        ids = list(self.sim.conversations)
        return str(ids[which % len(ids)]) if ids else None

    # For each machine to define

    @abstractmethod
    def sessions(self) -> list[ConversationSession]:
        """Return all sessions that were connected or attached."""

    @abstractmethod
    async def begin(self, which: int) -> ConversationSession | None:
        """Start a session and return it; None if that failed, or the session has ended already."""

    async def living(self, which: int) -> ConversationSession | None:
        """Return a session that lives, a new one if there is none."""
        live = [session for session in self.sessions() if session.end_reason is None]
        return live[which % len(live)] if live else await self.begin(which)

    # Steps

    @rule(seconds=st.sampled_from([1, 5, 5, OVERTIME]))
    def time_passes(self, seconds: int) -> None:
        self.sim.advance(seconds)

    @rule(rounds=st.integers(1, 60))
    def loop_runs(self, rounds: int) -> None:
        self.run(loop_rounds(rounds))

    @rule(count=st.integers(1, 6), seconds=st.sampled_from([0, 3, 3]))
    def service_is_asked(self, count: int, seconds: int) -> None:
        """Wait a moment for requests, if a task may make any."""
        self.sim.advance(seconds)
        self.run(self._asked(self.sim.count() + count))

    async def _asked(self, wanted: int) -> None:
        with suppress(TimeoutError):  # there may be no more
            await self.sim.wait_until(lambda: self.sim.count() >= wanted or not self._busy(), timeout=0.02)

    def _busy(self) -> bool:
        """Return True if a task may make a request."""
        return session_tasks() != [] or not all(task.done() for task in self.tasks)

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

    @rule(which=WHICH)
    def bot_gets_ready(self, which: int) -> None:
        self.run(self._get_ready(which))

    async def _get_ready(self, which: int) -> ConversationSession | None:
        """Let a session get ready, and wait until it is or has ended."""
        session = await self.living(which)
        if session is not None:
            if self.sim.conversations[session.id].state is not ConversationState.ENDED:
                self.sim.join(session.id)
            self.sim.advance(READY_TIME + 1)
            with suppress(SessionEndedError):
                await session.bot_ready.wait()
        return session

    @rule(which=WHICH, ready=st.booleans(), overtime=st.booleans())
    def session_learns_of_end(self, which: int, *, ready: bool, overtime: bool) -> None:
        self.run(self._learn_of_end(which, ready=ready, overtime=overtime))

    async def _learn_of_end(self, which: int, *, ready: bool, overtime: bool) -> None:
        session = await (self._get_ready(which) if ready else self.living(which))
        if session is not None:
            if overtime:
                self.sim.advance(OVERTIME)
            else:
                self.sim.end(session.id)
            await session.ended.wait()

    @rule(which=WHICH)
    def conversation_completes(self, which: int) -> None:
        self.sim.clear_faults()
        self.run(self._learn_of_end(which, ready=True, overtime=False))

    @rule(which=WHICH)
    def connect_fails(self, which: int) -> None:
        self.service_fails({"route": "connect", "status": 500})
        self.run(self.begin(which))

    # The end of an example

    async def finish(self) -> None:
        """Close the client and the service, and check that nothing of either is left."""
        await self.client.aclose()
        await self.sim.__aexit__(None, None, None)
        done = await asyncio.gather(*self.tasks, return_exceptions=True)
        for error in done:
            assert not isinstance(error, BaseException) or isinstance(error, AkapuluError | asyncio.CancelledError)
        assert session_tasks() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def check_no_twins(self) -> None:
        """Check that no request made two conversations."""
        numbers = [view.request.runtime_vars["number"] for view in self.sim.conversations.values()]
        assert len(set(numbers)) == len(numbers)


async def _in_time(step: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(2 * PATIENCE):
        return await step


def in_doubt(error: BaseException | None) -> bool:
    """Return True if an error says that a conversation may exist: its connect's answer was lost or is unreadable."""
    unreadable = isinstance(error, InvalidResponseError) and 200 <= error.status < 300
    return isinstance(error, ConnectOutcomeUnknownError) or unreadable
