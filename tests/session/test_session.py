"""A session from its connect to its end: the simulator shows its states, a steered service its failures."""

import asyncio
import gc
import json
import logging
import os
import pickle
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import anyio
import attrs
import pytest

from akapulu_async import (
    AkapuluClient,
    ApiError,
    AuthenticationError,
    ClosedError,
    ConcurrencyLimitError,
    ConfigurationError,
    Connection,
    ConnectOutcomeUnknownError,
    ConversationSession,
    EndReason,
    MinutesLimitError,
    NotFoundError,
    PollPolicy,
    ProgressChanged,
    ProgressPollPolicy,
    RateLimitError,
    SessionEndedError,
    SessionManager,
    SessionSnapshot,
    SessionState,
    StateChanged,
    TransportError,
    UpdateSignals,
)
from akapulu_async.session import session as session_module
from akapulu_async.simulator import Fault, Simulator
from tests.support.far_timer import NEVER, far_timer
from tests.support.managed import LOOPS, get_ready, loop_rounds, simulated, soon, until
from tests.support.misbehaving import (
    CONNECTION,
    OTHER_SESSION,
    REQUEST,
    SESSION,
    TOKEN,
    UPDATE,
    Behaviour,
    Peer,
    Seen,
    Server,
    answer,
    close,
    gated,
    hang,
    http,
    raw,
)
from tests.support.steered import QUICK_POLL, READY, Clock, Steered, session_tasks, steered

CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState


def states(events: list[Any]) -> list[SessionState]:
    return [event.state for event in events if isinstance(event, StateChanged)]


# The states


@LOOPS
async def test_life() -> None:
    """A conversation enters all its states, with progress in between, and is completed when its user leaves."""
    async with simulated(call_seconds=10) as (sim, client):
        async with client.session(REQUEST) as session:
            assert session.state is CONNECTING
            await get_ready(sim, session)
            sim.advance(10)
            events = [event async for event in session.events()]
        assert states(events) == [*SessionState]
        assert session.end_reason is EndReason.COMPLETED
        assert session.cause is None
        texts = [event.text for event in events if isinstance(event, ProgressChanged)]
        assert "bot ready" in texts
        assert session.progress.percent == 100
        times = [session.elapsed(state) for state in SessionState]
        assert times == sorted(time for time in times if time is not None)
        assert sim.conversations[session.id].end_reason == "user_left"
        assert sim.count("connect") == 1


WAYS: dict[str, tuple[dict[str, Any], EndReason]] = {
    "user left": ({"call_seconds": 20}, EndReason.COMPLETED),
    "ending node": ({"end_with_script": True, "call_seconds": None}, EndReason.COMPLETED),
    "cap": ({"max_call_seconds": 20}, EndReason.DURATION_LIMIT_REACHED),
    "minutes": ({"minutes": 1, "call_seconds": None}, EndReason.DURATION_LIMIT_REACHED),
    "nobody joined": ({"auto_join": False, "participant_join_timeout": 60}, EndReason.PARTICIPANT_JOIN_TIMEOUT),
    "expired": ({"max_lifetime": 20, "call_seconds": None}, EndReason.COMPLETED),
}


async def pass_through(way: str, sim: Simulator, session: ConversationSession) -> None:
    """Let a conversation get ready, unless nobody joins it, and then end."""
    if way != "nobody joined":
        await get_ready(sim, session)
    sim.advance(1000)


@pytest.mark.parametrize("after_end", ["text", "not_found", "gone"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_reported_end(way: str, after_end: Any) -> None:
    """A text or a refusal after the end ends the session; only a text gives the special reasons."""
    options, by_text = WAYS[way]
    by_refusal = EndReason.FAILED if way == "nobody joined" else EndReason.COMPLETED
    async with simulated(after_end=after_end, **options) as (sim, client), client.session(REQUEST) as session:
        await pass_through(way, sim, session)
        await soon(session.ended.wait())
        assert session.end_reason is (by_text if after_end == "text" else by_refusal)
        assert isinstance(session.cause, NotFoundError) == (session.end_reason is EndReason.FAILED)
        assert session.bot_ready.is_set() == (way != "nobody joined")


@pytest.mark.parametrize("way", WAYS)
async def test_unreported_end(way: str) -> None:
    """If polls are answered after the end as before it, the session lives until it is left."""
    options, _ = WAYS[way]
    async with simulated(after_end="unchanged", **options) as (sim, client), client.session(REQUEST) as session:
        await pass_through(way, sim, session)
        assert sim.conversations[session.id].end_reason is not None
        await sim.wait_for_request("updates", count=sim.count("updates") + 3)
        assert session.end_reason is None
    assert session.end_reason is EndReason.LEFT


async def test_body_failure_leaves() -> None:
    """An error of the block ends the session and is raised unchanged."""
    async with steered() as world:
        with pytest.raises(ZeroDivisionError):
            async with world.client.session(REQUEST) as session:
                raise ZeroDivisionError
        assert session.end_reason is EndReason.LEFT
        assert session.cause is None
        assert session_tasks() == []


# Connecting


@pytest.mark.parametrize(
    ("options", "fault", "error"),
    [
        ({}, Fault(route="connect", status=401), AuthenticationError),
        ({}, Fault(route="connect", reset="after"), ConnectOutcomeUnknownError),
        ({"max_concurrent": 0}, None, ConcurrencyLimitError),
        ({"minutes": 0}, None, MinutesLimitError),
        ({"scenarios": []}, None, NotFoundError),
    ],
)
async def test_connect_failed(options: Any, fault: Fault | None, error: type[Exception]) -> None:
    """If the connect fails, entering raises its error, and waiters get the reason and the cause."""
    async with simulated(**options) as (sim, client):
        if fault is not None:
            sim.add_fault(fault)
        session = client.session(REQUEST)
        waiter = asyncio.create_task(session.bot_ready.wait())
        watcher = session.events()
        with pytest.raises(error) as caught:
            async with session:
                raise AssertionError("not to be run")
        with pytest.raises(SessionEndedError) as ended:
            await waiter
        assert ended.value.reason is session.end_reason is EndReason.CONNECT_FAILED
        assert ended.value.__cause__ is session.cause is caught.value
        assert states([event async for event in watcher]) == [CONNECTING, ENDED]
        assert sim.count("connect") == 1
        assert sim.count("updates") == 0


async def test_client_not_open() -> None:
    """Entering a session of a client that is not open raises and says what to do."""
    session = AkapuluClient("key", base_url="http://127.0.0.1:9").session(REQUEST)
    with pytest.raises(ClosedError, match="not open"):
        async with session:
            pass
    assert session.end_reason is EndReason.CONNECT_FAILED


async def test_entered_once() -> None:
    """A session cannot be entered twice, neither while it lives nor later. The attempt does not disturb it."""
    async with steered() as world:
        async with world.client.session(REQUEST) as session:
            with pytest.raises(ClosedError, match="entered once"):
                await session.open()
            assert session.end_reason is None
        with pytest.raises(ClosedError, match="entered once"):
            async with session:
                pass
        assert world.connects == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, 10**400, 10**5000], ids=count())
async def test_unusable_limits(seconds: float) -> None:
    """A limit that is not a number of seconds above 0 is refused before anything is sent."""
    client = AkapuluClient("key", base_url="http://127.0.0.1:9")
    for name in ("ready_timeout", "max_duration"):
        options: Any = {name: seconds}
        for make in (
            lambda: client.session(REQUEST, **options),  # noqa: B023 - called at once
            lambda: client.attach(SESSION, **options),  # noqa: B023
            lambda: SessionManager(client, **options),  # noqa: B023
        ):
            with pytest.raises(ConfigurationError, match=f"^{name} must be "):
                make()


# The longest duration


@pytest.mark.parametrize("start", ["connected", "attached", "restored"])
async def test_longest_duration(start: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A session whose end the service never reports ends when its longest duration has passed, which is logged once."""
    clock, snapshot = Clock(monkeypatch, ConversationSession), SessionSnapshot(SESSION, datetime.now(UTC), {})
    async with steered() as world:
        world.service.says(**READY)
        if start == "connected":
            session = world.client.session(REQUEST, participant=Guest(), max_duration=3600)
        else:
            session = world.client.attach(SESSION if start == "attached" else snapshot, max_duration=3600)
        async with session:
            await soon(session.bot_ready.wait())
            clock.now += 3590
            await world.polled(2)
            assert session.end_reason is None
            clock.now += 10
            await soon(session.ended.wait())
            assert session.end_reason is EndReason.UNKNOWN
            assert states([event async for event in session.events()]) == [*SessionState]
            await session.end()
        assert [(record.levelname, record.session_id) for record in caplog.records] == [("WARNING", SESSION)]
        assert "was followed for 3600 s (max_duration)" in caplog.text
        assert session_tasks() == []


async def test_longest_duration_before_ready() -> None:
    """The pause before the last poll ends with the longest duration, and waits say why the session ended."""
    poll = PollPolicy(interval=3600, jitter=0.0)
    async with steered(poll=poll) as world:
        session = world.client.attach(SESSION, ready_timeout=None, max_duration=0.05)
        async with session:
            with pytest.raises(SessionEndedError, match="max_duration, and may continue"):
                await soon(session.bot_ready.wait())
        assert (session.end_reason, session.polls) == (EndReason.UNKNOWN, 2)


async def test_no_longest_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit, a session lives on."""
    clock = Clock(monkeypatch, ConversationSession)
    async with steered() as world:
        world.service.says(**READY)
        async with world.client.session(REQUEST, max_duration=None) as session:
            await soon(session.bot_ready.wait())
            clock.now += 1e6
            await world.polled(2)
            assert session.end_reason is None


# The ready timeout


async def test_ready_timeout() -> None:
    """A bot that is not ready in time ends the session and its polling."""
    async with steered() as world, world.client.session(REQUEST, ready_timeout=0.05) as session:
        with pytest.raises(SessionEndedError, match="ready_timeout"):
            await session.bot_ready.wait()
        assert session.end_reason is EndReason.READY_TIMEOUT
        await session.end()
        assert session.end_reason is EndReason.READY_TIMEOUT
        assert session_tasks() == []


async def test_no_ready_timeout_after_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the bot is ready, neither a poll nor the timer applies the ready timeout."""
    clock = Clock(monkeypatch, ConversationSession)
    async with steered() as world, world.client.session(REQUEST, ready_timeout=100) as session:
        world.service.says(**READY)
        await session.bot_ready.wait()
        clock.now += 1000
        await world.polled(2)
        session._ready_timed_out(due=0)
        assert session.end_reason is None


# Polling


async def test_one_poll_under_way() -> None:
    """At most one poll is under way, however long it takes, and the end of the session cancels it."""
    async with steered(poll=PollPolicy(interval=0.001)) as world:
        world.service.update = hang
        async with world.client.session(REQUEST) as session:
            await world.server.until(lambda: world.polls == 1)
            other = world.client.attach(OTHER_SESSION)
            opening = asyncio.create_task(other.open())
            await world.server.until(lambda: world.polls == 2)
            assert session.polls == 0
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert other.end_reason is EndReason.CANCELLED
            await session.end()
            await world.server.abandoned()
            assert session_tasks() == []
        assert world.polls == 2


async def ticks(sim: Simulator, client: AkapuluClient, count: int) -> None:
    """Wait until another session has polled this often, in place of a clock."""
    async with client.session(REQUEST) as other:
        await sim.wait_for_request("updates", conversation_id=other.id, count=count)


async def test_live_interval() -> None:
    """Once the bot is ready, polls come at the live interval."""
    async with simulated(call_seconds=None) as (sim, client):
        poll = PollPolicy(interval=0.01, live_interval=60.0, jitter=0.0)
        async with client.session(REQUEST, poll=poll) as session:
            await get_ready(sim, session)
            seen = sim.count("updates", conversation_id=session.id)
            await ticks(sim, client, 20)
            assert sim.count("updates", conversation_id=session.id) == seen


async def test_the_policy_gets_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll policy gets the percent, the seconds since the connect, and for how long the percent has not risen."""
    given: list[tuple[float, float, float]] = []

    @attrs.frozen
    class Recording(PollPolicy):
        def until_ready(self, percent: float, elapsed: float, still: float) -> float:
            given.append((percent, elapsed, still))
            return self.interval

    clock = Clock(monkeypatch, ConversationSession)
    async with steered(poll=Recording(interval=0.001)) as world, world.client.session(REQUEST) as session:
        for percent in (0, 30, 60):
            world.service.says(completion_percent=percent)
            await until(lambda percent=percent: session.progress.percent == percent and given)  # type: ignore[misc]
            clock.now += 10
            polls = session.polls
            await until(lambda polls=polls: session.polls > polls + 1)  # type: ignore[misc]
        world.service.says(**READY)
        await session.bot_ready.wait()
    assert list(dict.fromkeys(given)) == [(0, 0, 0), (0, 10, 10), (30, 10, 0), (30, 20, 10), (60, 20, 0), (60, 30, 10)]


async def test_fewer_polls_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with a `ProgressPollPolicy` gets ready with fewer polls. Time passes only in its pauses."""
    clock = Clock(monkeypatch, ConversationSession)

    async def pause(_: ConversationSession, seconds: float) -> None:
        clock.now += seconds
        sim.advance(seconds)

    monkeypatch.setattr(ConversationSession, "_pause", pause)
    polls = []
    async with simulated(ready_time=12.0) as (sim, client):
        for policy in (PollPolicy(jitter=0.0), ProgressPollPolicy(jitter=0.0)):
            async with client.session(REQUEST, poll=policy) as session:
                await session.bot_ready.wait()
                polls.append(session.polls)
    assert 1 < polls[1] < polls[0]


async def test_retry_after() -> None:
    """After a `Retry-After` the next poll waits as long, and the session can be left meanwhile."""
    async with simulated() as (sim, client), client.session(REQUEST) as session:
        limited = sim.add_fault(
            Fault(route="updates", conversation_id=session.id, status=429, headers={"Retry-After": "60"}, times=None)
        )
        await sim.wait_until(lambda: limited.hits == 1)
        await ticks(sim, client, 20)
        assert limited.hits == 1
        assert session.end_reason is None


async def test_failed_polls_in_a_row() -> None:
    """A session survives as many failed polls in a row as its policy allows; the close was tried twice."""
    unwell = answer({"error": "no"}, 503)
    async with steered() as world:
        world.service.follows(
            unwell, close, close, answer(UPDATE), answer(body=b"<html>"), unwell, answer({**UPDATE, **READY})
        )
        async with world.client.session(REQUEST) as session:
            await session.bot_ready.wait()
            assert (session.polls, session.poll_failures) == (6, 4)


@pytest.mark.parametrize("code", ["TOO_MANY_CONCURRENT_REQUESTS", "USAGE_LIMIT", "RATE_LIMIT_PER_MINUTE"])
async def test_limited_polls(code: str) -> None:
    """A poll refused with 429 is a failed poll like any other, even if its code reads like a limit of the account."""
    limited = answer({"error": "no", "error_code": code}, 429)
    async with steered() as world:
        world.service.follows(limited, limited, answer({**UPDATE, **READY}))
        async with world.client.session(REQUEST) as session:
            await session.bot_ready.wait()
            assert (session.polls, session.poll_failures) == (3, 2)


async def test_too_many_failures() -> None:
    """One failed poll more than the policy allows ends the session; the last error is the cause."""
    async with steered() as world, world.client.session(REQUEST) as session:
        world.service.refuses(429)
        await session.ended.wait()
        assert session.end_reason is EndReason.FAILED
        assert isinstance(session.cause, RateLimitError)
        assert session.poll_failures == 3
    async with steered() as world, world.client.session(REQUEST) as session:
        world.service.update = close
        await session.ended.wait()
        assert isinstance(session.cause, TransportError)


NOT_THE_SERVICE: list[Behaviour] = [
    answer(body=b"<html>404 Not Found</html>", status=404, headers={"Content-Type": "text/html"}),
    answer(body=b"", status=410),
    answer(body=b"<html>Sign in</html>", status=401),
    answer({"error": "moved"}, 302, {"Location": "/login"}),
    answer(body=b"", status=304),
    answer(body=b"<html>It works!</html>"),
]


async def test_answers_that_the_service_did_not_write() -> None:
    """A gateway that answers in the service's place for a while ends no session, before ready or after it."""
    async with steered(poll=attrs.evolve(QUICK_POLL, max_failures=len(NOT_THE_SERVICE))) as world:
        world.service.follows(*NOT_THE_SERVICE, answer({**UPDATE, **READY}))
        async with world.client.session(REQUEST) as session:
            await soon(session.bot_ready.wait())
            assert (session.polls, session.poll_failures) == (len(NOT_THE_SERVICE) + 1, len(NOT_THE_SERVICE))
            world.service.follows(*NOT_THE_SERVICE, answer({**UPDATE, **READY, "latest_update_text": "still here"}))
            await until(lambda: session.progress.text == "still here")
            assert session.poll_failures == 2 * len(NOT_THE_SERVICE)
            world.service.follows(NOT_THE_SERVICE[0])
            await soon(session.ended.wait())
            assert session.end_reason is EndReason.FAILED
            assert isinstance(session.cause, NotFoundError)


async def test_a_conversation_that_is_not_visible_everywhere_yet() -> None:
    """Before ready, a conversation that a part of the service does not know yet is polled again."""
    async with steered(poll=attrs.evolve(QUICK_POLL, max_failures=7)) as world:
        refusals = [answer({"error": "no"}, status) for status in (404, 410, 403, 409, 423, 425, 499)]
        world.service.follows(*refusals, answer({**UPDATE, **READY}))
        async with world.client.session(REQUEST) as session:
            await soon(session.bot_ready.wait())
            assert session.poll_failures == 7
            world.service.refuses(404)
            await soon(session.ended.wait())
            assert session.end_reason is EndReason.COMPLETED


async def test_poller_cancelled_from_outside() -> None:
    """If somebody cancels the polling, the session ends with that cause, and no wait hangs."""
    async with steered() as world, world.client.session(REQUEST) as session:
        await world.polled()
        assert session._poller is not None
        session._poller.cancel()
        with pytest.raises(SessionEndedError):
            await session.bot_ready.wait()
        assert isinstance(session.cause, asyncio.CancelledError)
        assert session._poller.cancelled(), "its own cancel is not swallowed"


async def test_poll_policy_of_session_or_client() -> None:
    """A session polls by its own policy, or else by the client's."""
    async with steered(poll=PollPolicy(interval=60.0)) as world:
        async with world.client.session(REQUEST, poll=QUICK_POLL):
            await world.polled(3)
        async with world.client.session(REQUEST) as session:
            assert session._settings.poll.interval == 60.0


# Joining


async def test_mark_room_joined() -> None:
    """The application can report that somebody joined; again, or after the end, that changes nothing."""
    async with steered() as world, world.client.session(REQUEST) as session:
        session.mark_room_joined()
        assert session.state is ROOM_JOINED
        first = session.time_to_room
        session.mark_room_joined()
        assert session.time_to_room == first
        await session.end()
        session.mark_room_joined()
        assert session.state is ENDED
        assert states([event async for event in session.events()]) == [CONNECTING, ROOM_JOINED, ENDED]


@LOOPS
async def test_participant() -> None:
    """A participant joins after the connect, which enters room_joined, and leaves at the end, which hangs up."""
    async with simulated(auto_join=False, call_seconds=None) as (sim, client):
        async with client.session(REQUEST, participant=sim.participant) as session:
            await session.room_joined.wait()
            assert sim.conversations[session.id].joined_at is not None
            await get_ready(sim, session)
            assert sim.open_conversations == 1
        assert sim.open_conversations == 0
        assert sim.conversations[session.id].end_reason == "user_left"
        assert session.end_reason is EndReason.LEFT


class Guest:
    """A participant that runs the test's own code when it joins and when it leaves."""

    def __init__(self, join: Callable[[], Any] | None = None, leave: Callable[[], Any] | None = None) -> None:
        self.join, self.leave = join, leave
        self.log: list[str] = []

    @asynccontextmanager
    async def __call__(self, connection: Connection) -> AsyncGenerator[None]:
        self.log.append("joins")
        if self.join is not None:
            await self.join()
        self.log.append("joined")
        try:
            yield
        finally:
            self.log.append("leaves")
            if self.leave is not None:
                await self.leave()
            self.log.append("left")


async def fail() -> None:
    raise OSError(f"no device for {TOKEN}")


async def cancel_oneself() -> None:
    raise asyncio.CancelledError


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("participant", "cause"),
    [(Guest(fail), OSError), (Guest(cancel_oneself), asyncio.CancelledError), (lambda _: fail(), AttributeError)],
    ids=["fails", "cancelled", "no context manager"],
)
@pytest.mark.filterwarnings("ignore:coroutine 'fail' was never awaited")
@pytest.mark.shows_secrets  # in the participant's own exception
async def test_participant_cannot_join(participant: Any, cause: type[BaseException]) -> None:
    """If joining fails, the session ends with that cause, and its text does not show the token."""
    cause = (AttributeError, TypeError) if cause is AttributeError else cause  # type: ignore[assignment]
    async with steered() as world, world.client.session(REQUEST, participant=participant) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.room_joined.wait()
        assert caught.value.reason is EndReason.FAILED
        assert isinstance(caught.value.__cause__, cause)
        assert TOKEN not in str(caught.value), "the participant's error quotes it"


@pytest.mark.shows_secrets  # in the participant's own exception
async def test_participant_error_without_the_token() -> None:
    """The error of a participant is quoted without the token, pickled or not."""
    async with steered() as world, world.client.session(REQUEST, participant=Guest(fail)) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
        for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own
            assert "no device for ***" in str(error)
            assert TOKEN not in str(error)


@pytest.mark.shows_secrets  # in the participant's own exception
async def test_events_without_the_token() -> None:
    """The repr of an event shows the type of its cause and not its text."""
    async with steered() as world, world.client.session(REQUEST, participant=Guest(fail)) as session:
        await session.ended.wait()
        watcher = session.events()
        events = [await anext(watcher) for _ in range(2)]
        assert states(events) == [CONNECTING, ENDED]
        assert TOKEN in str(session.cause)
        assert "cause=OSError" in repr(events)
        assert "cause=None" in repr(events)
        assert TOKEN not in repr(events)


class Fickle:
    """A participant that leaves by itself, like one with a cancel scope or a task group of its own."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.scope = anyio.CancelScope()

    @asynccontextmanager
    async def __call__(self, _: Connection) -> AsyncGenerator[None]:
        with self.scope:
            self.inside.set()
            yield


@pytest.mark.parametrize(("ready", "reason"), [(True, EndReason.COMPLETED), (False, EndReason.FAILED)])
async def test_participant_leaves_by_itself(ready: bool, reason: EndReason) -> None:
    """A participant that leaves by itself ends the session: completed if the bot was ready, else failed."""
    guest = Fickle()
    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        await guest.inside.wait()
        if ready:
            world.service.says(**READY)
            await session.bot_ready.wait()
        guest.scope.cancel()
        await soon(session.ended.wait())
        assert (session.end_reason, session.cause) == (reason, None)
        await session.end()
        assert session_tasks() == []


async def test_participant_leaves_when_the_conversation_ends() -> None:
    """When the service reports the end, the participant leaves at once, and not only with the block."""
    async with steered() as world:
        left = asyncio.Event()

        async def leave() -> None:
            left.set()

        guest = Guest(leave=leave)
        async with world.client.session(REQUEST, participant=guest) as session:
            await session.room_joined.wait()
            world.service.says(latest_update_text="participant_join_timeout")
            await left.wait()
            assert session.end_reason is EndReason.PARTICIPANT_JOIN_TIMEOUT
        assert guest.log == ["joins", "joined", "leaves", "left"]


async def test_log_of_conversations_that_may_continue(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving a conversation that may continue logs its id: a warning if it was started here and cancelled."""
    caplog.set_level(logging.INFO, "akapulu_async")
    line = f"conversation {SESSION} may continue without this program and hold its slot"
    async with steered() as world:
        async with world.client.session(REQUEST):
            pass
        assert caplog.record_tuples == [("akapulu_async", logging.INFO, line)]
        caplog.clear()
        for session, level in (
            (world.client.session(REQUEST), logging.WARNING),
            (world.client.attach(SESSION), logging.INFO),
        ):
            with anyio.CancelScope() as scope:
                async with session:
                    scope.cancel()
                    await anyio.sleep_forever()
            assert caplog.record_tuples == [("akapulu_async", level, line)]
            caplog.clear()
        async with world.client.session(REQUEST, participant=Guest()) as session:
            await session.room_joined.wait()
        async with world.client.session(REQUEST) as session:
            world.service.refuses(404)
            await session.ended.wait()
        assert caplog.record_tuples == [], "the participant hung up, and the other is over"


async def test_participant_still_joining_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A participant that is still joining when the session ends is cancelled, without a wait."""
    async with steered() as world:
        guest = Guest(forever)
        async with world.client.session(REQUEST, participant=guest) as session:
            await world.polled()
            assert guest.log == ["joins"]
        assert session.end_reason is EndReason.LEFT
        assert session.cause is None
        assert guest.log == ["joins"]
        assert session_tasks() == []
        assert "did not leave in time" not in caplog.text


async def test_participant_fails_to_leave(caplog: pytest.LogCaptureFixture) -> None:
    """A failure to leave is logged without secrets, and does not change how the session ended."""
    async with steered() as world:
        async with world.client.session(REQUEST, participant=Guest(leave=fail)) as session:
            await session.room_joined.wait()
        assert (session.end_reason, session.cause) == (EndReason.LEFT, None)
        assert "failed to leave: no device" in caplog.text
        assert TOKEN not in caplog.text


async def test_participant_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A participant that does not leave in time is cancelled, with a warning."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", NEVER)

    async def hang_up() -> None:
        strike()
        await forever()

    async with steered() as world:
        guest = Guest(leave=hang_up)
        with far_timer() as strike:
            async with world.client.session(REQUEST, participant=guest) as session:
                await session.room_joined.wait()
        assert guest.log == ["joins", "joined", "leaves"]
        assert session_tasks() == []
        assert "did not leave in time" in caplog.text
        assert "ignored cancellation" not in caplog.text


async def test_participant_ignores_cancellation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A participant that ignores its cancellation does not hold up the end; a warning names it."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", 0.02)
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async with steered() as world:
        async with world.client.session(REQUEST, participant=Guest(leave=stubborn)) as session:
            await session.room_joined.wait()
        assert not await session.close()
        assert f"{SESSION}: its participant ignored cancellation" in caplog.text
        assert session._attendance is not None
        released.set()
        await session._attendance.task
        assert await session.close()


async def test_ended_by_several_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If several tasks end a session at once, a participant that does not leave in time is cancelled once."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", NEVER)
    cancels = 0

    async def hang_up() -> None:
        nonlocal cancels
        strike()
        try:
            await forever()
        except asyncio.CancelledError:
            cancels += 1

    async with steered() as world, world.client.session(REQUEST, participant=Guest(leave=hang_up)) as session:
        await session.room_joined.wait()
        with far_timer() as strike:
            ends = [asyncio.create_task(session.end()) for _ in range(3)]
            await asyncio.gather(*ends)
        assert cancels == 1


async def test_participant_ends_the_session() -> None:
    """A participant can end the session from within its own task, without waiting for itself."""
    async with steered() as world:
        sessions: list[ConversationSession] = []

        async def hang_up() -> None:
            await soon(sessions[0].end())

        session = world.client.session(REQUEST, participant=Guest(join=hang_up))
        sessions.append(session)
        async with session:
            await session.ended.wait()
        assert session.end_reason is EndReason.LEFT


async def test_participant_ends_the_session_while_it_leaves() -> None:
    """Leaving the block waits for a participant that calls `end()` on its way out."""
    async with steered() as world:
        sessions: list[ConversationSession] = []
        may_leave = asyncio.Event()

        async def hang_up() -> None:
            await sessions[0].end()
            guest.log.append("ended")
            await may_leave.wait()

        guest = Guest(leave=hang_up)
        session = world.client.session(REQUEST, participant=guest)
        sessions.append(session)
        async with session:
            await session.room_joined.wait()
            world.service.says(latest_update_text="participant_join_timeout")
            await session.ended.wait()
            await until(lambda: "ended" in guest.log)
            asyncio.get_running_loop().call_soon(may_leave.set)
        assert guest.log[-1] == "left"
        assert session_tasks() == []


class Quit(BaseException):
    """Not an `Exception`, like those of test frameworks and of the interpreter."""


async def quit_at_once() -> None:
    raise Quit


async def test_participant_raises_a_base_exception() -> None:
    """A participant's BaseException ends its session like any other error, and nothing else."""
    reported: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    async with steered() as world, world.client.session(REQUEST, participant=Guest(quit_at_once)) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
    assert caught.value.reason is EndReason.FAILED
    assert isinstance(caught.value.__cause__, Quit)
    del session, caught
    gc.collect()
    assert reported == []


async def test_participant_fails_while_it_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """If the block is cancelled and the participant fails to leave, the failure is logged and the cancel continues."""
    async with steered() as world:
        for leave in (fail, quit_at_once):
            caplog.clear()
            session = world.client.session(REQUEST, participant=Guest(leave=leave))

            async def hold(session: ConversationSession = session) -> None:
                async with session:
                    await forever()

            holding = asyncio.create_task(hold())
            await until(session.room_joined.is_set)
            holding.cancel()
            await asyncio.wait([holding])
            assert holding.cancelled()
            assert session.end_reason is EndReason.CANCELLED
            assert "its participant failed to leave" in caplog.text


async def test_a_child_of_the_participant_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    """A task of a participant's own task group can end the session, without waiting for the participant."""
    log: list[str] = []

    @asynccontextmanager
    async def guest(_: Connection) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(hang_up())
            yield
        await loop_rounds()
        log.append("left")

    async def hang_up() -> None:
        await session.bot_ready.wait()
        await session.end()
        log.append("ended")

    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        world.service.says(**READY)
        await session.ended.wait()
    assert log == ["ended", "left"]
    assert session.end_reason is EndReason.LEFT
    assert caplog.records == []


@attrs.frozen
class Buggy(UpdateSignals):
    """Signals with a bug, of any class."""

    error: type[BaseException] = LookupError

    def refused(self, error: ApiError, *, ready: bool) -> EndReason | None:
        raise self.error


class BuggyPolicy(PollPolicy):
    """A poll policy with a bug."""

    def until_ready(self, percent: float, elapsed: float, still: float) -> float:
        raise LookupError


async def test_a_bug_in_the_policy() -> None:
    """A bug in the policy's first pause ends the session, whose conversation stays known."""
    async with steered(poll=BuggyPolicy()) as world, world.client.session(REQUEST) as session:
        await soon(session.ended.wait())
        assert (session.id, session.end_reason) == (SESSION, EndReason.FAILED)
        assert isinstance(session.cause, LookupError)


@pytest.mark.parametrize("error", [LookupError, Quit, GeneratorExit])
async def test_a_bug_in_the_signals(error: type[BaseException]) -> None:
    """A poll whose refusal meets a bug in the signals, of any class, is counted, and ends the session."""
    async with steered() as world:
        world.service.refuses(404)
        async with world.client.session(REQUEST, signals=Buggy(error=error)) as session:
            await session.ended.wait()
    assert session.end_reason is EndReason.FAILED
    assert isinstance(session.cause, error)
    assert (session.polls, session.poll_failures) == (1, 1)


# Ending


async def test_end() -> None:
    """end() ends the session and waits for its tasks. It can be called again, and by several tasks at once."""
    async with simulated(auto_join=False) as (sim, client):
        async with client.session(REQUEST, participant=sim.participant) as session:
            await session.room_joined.wait()
            await session.end()
            assert sim.open_conversations == 0
            assert session_tasks() == []
            ended = session.elapsed(ENDED)
            await asyncio.gather(session.end(), session.end())
        await session.end()
        assert session.elapsed(ENDED) == ended
        assert session.end_reason is EndReason.LEFT


async def test_end_before_entering() -> None:
    """end() before entering does nothing, and the session can still be entered."""
    async with steered() as world:
        session = world.client.session(REQUEST)
        await session.end()
        assert session.state is CONNECTING
        async with session:
            await world.polled()
        assert session.end_reason is EndReason.LEFT


def gated_connect(gate: asyncio.Event) -> Behaviour:
    """Answer the connect once the gate is open."""
    return gated(b"", gate, http(200, {"Content-Type": "application/json"}, json.dumps(CONNECTION).encode()))


async def test_end_while_connecting(caplog: pytest.LogCaptureFixture) -> None:
    """A session that is ended while it connects is not entered. It knows its conversation, and logs a warning."""
    async with steered() as world:
        gate = asyncio.Event()
        world.service.connect = gated_connect(gate)
        session = world.client.session(REQUEST)

        async def enter() -> None:
            async with session:
                pytest.fail("it has ended")

        task = asyncio.create_task(enter())
        await world.server.seen(1)
        await session.end()
        gate.set()
        with pytest.raises(SessionEndedError) as caught:
            await task
        assert caught.value.reason is session.end_reason is EndReason.LEFT
        assert session.id == SESSION
        assert f"conversation {SESSION} was connected, but its session was cancelled or ended" in caplog.text
        assert world.polls == 0


async def test_end_is_final() -> None:
    """Updates after the end change nothing."""
    async with steered() as world, world.client.session(REQUEST) as session:
        await session.end()
        world.service.says(**READY)
        assert not session.bot_ready.is_set()
        assert states([event async for event in session.events()]) == [CONNECTING, ENDED]


# Elsewhere


@LOOPS
async def test_attach_by_id() -> None:
    """An attached session sees the states and events of a conversation connected elsewhere; leaving does not end it."""
    async with simulated(call_seconds=20) as (sim, client):
        connection = await client.conversations.connect(REQUEST)
        async with client.attach(connection.conversation_session_id) as brief:
            sim.advance(3.5)  # the bot has joined
            await brief.room_joined.wait()
        assert sim.open_conversations == 1
        async with client.attach(connection.conversation_session_id) as session:
            await get_ready(sim, session)
            sim.advance(20)
            events = [event async for event in session.events()]
        assert states(events) == [*SessionState]
        assert session.end_reason is EndReason.COMPLETED


async def test_attach_by_snapshot() -> None:
    """A session attached by snapshot has the entered states and their times at once, and the others follow."""
    async with simulated(call_seconds=None) as (sim, client), client.session(REQUEST) as first:
        await get_ready(sim, first)
        stored = json.dumps(first.snapshot().to_json())
        async with client.attach(json.loads(stored)) as second:
            assert second.id == first.id
            assert second.state is BOT_READY
            for state in (CONNECTING, ROOM_JOINED, BOT_READY):
                assert second.elapsed(state) == pytest.approx(first.elapsed(state), abs=1e-6)
            sim.leave(first.id)
            await second.ended.wait()
            assert second.end_reason is EndReason.COMPLETED
            assert (second.elapsed(ENDED) or 0) > (second.elapsed(BOT_READY) or 0)


async def test_attach_to_an_ended_session() -> None:
    """A session attached by the snapshot of an ended one has ended at once, and sends nothing."""
    async with steered() as world:
        async with world.client.session(REQUEST) as first:
            pass
        polls = world.polls
        async with world.client.attach(first.snapshot()) as session:
            assert session.end_reason is EndReason.LEFT
            with pytest.raises(SessionEndedError):
                await session.bot_ready.wait()
            assert session_tasks() == []
        assert world.polls == polls


@pytest.mark.parametrize("status", [404, 410])
async def test_attach_to_an_unknown_conversation(status: int) -> None:
    """Attaching by id to a conversation that does not exist, or is over, raises at once what the first poll got."""
    async with steered(poll=attrs.evolve(QUICK_POLL, max_failures=None)) as world:
        world.service.refuses(status)
        session = world.client.attach(SESSION)
        events = session.events()
        with pytest.raises(NotFoundError, match="does not exist, or is over"):
            await session.open()
        assert (session.end_reason, world.polls) == (EndReason.UNKNOWN, 1)
        assert isinstance(session.cause, NotFoundError)
        assert states([event async for event in events]) == [CONNECTING, ENDED]
        with pytest.raises(SessionEndedError, match="nobody here saw whether it completed"):
            await session.bot_ready.wait()
        assert session_tasks() == []


@pytest.mark.parametrize(
    "first",
    [close, answer(body=b"<html>", status=404), answer({"error": "no"}, 503)],
    ids=["no answer", "a page", "a failure"],
)
async def test_attach_in_an_outage(first: Behaviour) -> None:
    """A first poll that says nothing of the conversation is a failed poll; the next may say that there is none."""
    async with steered() as world:
        world.service.follows(first, answer({**UPDATE, **READY}))
        async with world.client.attach(SESSION) as session:
            assert (session.polls, session.poll_failures) == (1, 1)
            await soon(session.bot_ready.wait())
    async with steered() as world:
        world.service.follows(first, answer({"error": "no"}, 404))
        async with world.client.attach(SESSION) as session:
            await soon(session.ended.wait())
            assert (session.end_reason, session.polls) == (EndReason.UNKNOWN, 2)


async def test_attach_with_a_key_that_is_not_accepted() -> None:
    """A first poll that ends the session for another reason is its cause, as of a later poll."""
    async with steered() as world:
        world.service.refuses(401)
        async with world.client.attach(SESSION) as session:
            assert session.end_reason is EndReason.FAILED
            assert isinstance(session.cause, AuthenticationError)
            assert session_tasks() == []


async def test_polls_that_a_proxy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not accept the password is asked once, and the session ends: more could lock the account."""
    async with Server(raw(http(407))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with (
            AkapuluClient("key", base_url="https://akapulu.example/api", poll=QUICK_POLL) as client,
            client.attach(SESSION) as session,
        ):
            assert session.end_reason is EndReason.FAILED
            assert "the proxy refused with 407" in str(session.cause)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("error", [LookupError, Quit])
async def test_attach_with_a_bug_in_the_signals(error: type[BaseException]) -> None:
    """A bug in the signals, of any class, is raised by the entry if the first poll meets it, and is the cause."""
    async with steered() as world:
        world.service.refuses(503)
        session = world.client.attach(SESSION, signals=Buggy(error=error))
        with pytest.raises(error):
            await session.open()
        assert session.end_reason is EndReason.FAILED
        assert isinstance(session.cause, error)


async def test_connect_with_a_bug_in_the_key() -> None:
    """An error of the function that returns the API key, of any class, is the cause of the session's end."""

    def api_key() -> str:
        raise Quit

    async with AkapuluClient(api_key, base_url="http://127.0.0.1:9") as client:
        session = client.session(REQUEST)
        with pytest.raises(Quit):
            await session.open()
    assert session.end_reason is EndReason.CONNECT_FAILED
    assert isinstance(session.cause, Quit)


async def test_ended_while_it_attaches() -> None:
    """A session that is ended while its first poll is under way is not entered."""
    async with steered() as world:
        gate = asyncio.Event()
        body = json.dumps({**UPDATE, **READY}).encode()
        world.service.update = gated(b"", gate, http(200, {"Content-Type": "application/json"}, body))
        session = world.client.attach(SESSION)
        opening = asyncio.create_task(session.open())
        await world.polled()
        await session.end()
        gate.set()
        with pytest.raises(SessionEndedError):
            await soon(opening)
        assert (session.end_reason, session.bot_ready.is_set()) == (EndReason.LEFT, False)
        assert session_tasks() == []


@pytest.mark.parametrize("after_end", ["text", "not_found", "gone"])
async def test_an_end_that_nobody_saw(after_end: Any) -> None:
    """An attached session that is over without having been seen ready ends as unknown, and its events just close."""
    async with simulated(after_end=after_end) as (sim, client):
        connection = await client.conversations.connect(REQUEST)
        async with client.attach(connection.conversation_session_id) as session:
            sim.end(session.id)
            events = [event async for event in session.events()]
            assert states(events)[-1] is ENDED
            assert session.end_reason is EndReason.UNKNOWN
            with pytest.raises(SessionEndedError) as caught:
                await session.bot_ready.wait()
            assert caught.value.reason is EndReason.UNKNOWN
        assert SessionSnapshot.from_json(session.snapshot().to_json()).end_reason is EndReason.UNKNOWN


async def test_a_snapshots_conversation_that_is_not_visible() -> None:
    """A snapshot proves that the conversation existed, so a 404 before ready is a failed poll."""
    async with steered() as world:
        snapshot = SessionSnapshot(SESSION, datetime.now(UTC), {CONNECTING: 0.0})
        world.service.follows(answer({"error": "no"}, 404), answer({**UPDATE, **READY}))
        async with world.client.attach(snapshot) as session:
            await soon(session.bot_ready.wait())
        world.service.refuses(404)
        async with world.client.attach(snapshot) as session:
            await soon(session.ended.wait())
            assert (session.end_reason, session.poll_failures) == (EndReason.UNKNOWN, 3)


def long_ago() -> SessionSnapshot:
    return SessionSnapshot(SESSION, datetime.now(UTC) - timedelta(hours=1), {CONNECTING: 0.0})


async def test_attached_after_the_ready_timeout() -> None:
    """Attached after its ready timeout, a session polls once: the bot may be ready all the same."""
    async with steered() as world:
        world.service.says(**READY)
        async with world.client.attach(long_ago(), ready_timeout=100) as session:
            await session.bot_ready.wait()
        world.service.says()
        polls = world.polls
        async with world.client.attach(long_ago(), ready_timeout=100) as session:
            await session.ended.wait()
            assert session.end_reason is EndReason.READY_TIMEOUT
        assert world.polls == polls + 1


async def test_attached_ready_timeout() -> None:
    """After attaching by snapshot, the ready timeout counts from the connect."""
    async with steered() as world, world.client.attach(long_ago(), ready_timeout=3600.1) as session:
        await soon(session.ended.wait())
        assert session.end_reason is EndReason.READY_TIMEOUT
        assert (session.elapsed(ENDED) or 0) >= 3600


async def test_events_after_a_suspended_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events have the wall clock's time, also after a suspend, which durations leave out; a snapshot keeps both."""
    clock, here = Clock(monkeypatch, ConversationSession), datetime(2026, 3, 10, 18, 10, 2, tzinfo=UTC)
    monkeypatch.setattr(ConversationSession, "_wall_clock", staticmethod(lambda: here))
    began_at = here
    async with steered() as world, world.client.session(REQUEST) as session:
        here += timedelta(hours=1, seconds=5)
        clock.now += 5
        world.service.says(**READY)
        await soon(session.bot_ready.wait())
        assert (session.entered_at(BOT_READY), session.time_to_ready) == (here, 5.0)
        snapshot = session.snapshot()
        assert (snapshot.began_at, snapshot.elapsed[BOT_READY]) == (began_at, 5.0)
        async with world.client.attach(snapshot) as again:
            assert again.snapshot() == snapshot
            assert again.entered_at(BOT_READY) == began_at + timedelta(seconds=5)


async def test_the_pause_counts_from_the_start_of_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that takes three of ten seconds is followed by a pause of seven."""
    clock, pauses, second = Clock(monkeypatch, ConversationSession), list[float](), asyncio.Event()

    async def pause(_: ConversationSession, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            second.set()
            await asyncio.Event().wait()

    async def slow(peer: Peer, seen: Seen) -> None:
        clock.now += 3.0
        await answer(UPDATE)(peer, seen)

    monkeypatch.setattr(ConversationSession, "_pause", pause)
    async with steered(poll=PollPolicy(interval=10.0, jitter=0.0)) as world:
        world.service.update = slow
        async with world.client.session(REQUEST, ready_timeout=None):
            await second.wait()
    assert pauses[1] == 7.0


async def test_detail() -> None:
    """detail() returns the service's record of this conversation, after the end too."""
    async with simulated() as (sim, client), client.session(REQUEST) as session:
        sim.end(session.id)
        await session.ended.wait()
        detail = await session.detail()
        assert detail.id == session.id
        assert detail.scenario_id == REQUEST.scenario_id
    with pytest.raises(ClosedError):
        await client.session(REQUEST).detail()


async def test_own_signals_of_a_session() -> None:
    """A session reads the service's texts with its own signals."""
    async with steered() as world:
        world.service.says(**READY)
        async with world.client.session(REQUEST, signals=UpdateSignals(gone_after_ready=None)) as session:
            await session.bot_ready.wait()
            world.service.refuses(404)
            await session.ended.wait()
            assert session.end_reason is EndReason.FAILED
            assert session.poll_failures == 3


# Nothing is left


async def cycle(world: Steered, number: int) -> None:
    """Connect a session or attach one, and wait for its bot or leave at once."""
    session = world.client.session(REQUEST) if number % 4 == 0 else world.client.attach(SESSION)
    async with session:
        if number % 2 == 0:
            await session.bot_ready.wait()


def held() -> tuple[int, int, int]:
    """Return the numbers of tasks, file descriptors and objects."""
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    return len(asyncio.all_tasks()), descriptors, len(gc.get_objects())


@pytest.mark.parametrize("way", ["left", "ended by the service", "ended in the block", "ended while it connects"])
async def test_freed_at_once(way: str) -> None:
    """An ended session that nobody holds is freed without the garbage collector, which may be far behind or frozen."""
    async with steered() as world:
        gate = asyncio.Event()
        if way == "ended while it connects":
            world.service.connect = gated_connect(gate)

        async def live() -> "weakref.ref[ConversationSession]":
            session = world.client.session(REQUEST, participant=Guest())
            if way == "ended while it connects":
                asyncio.get_running_loop().call_soon(asyncio.ensure_future, end_and_answer(session))
            with suppress(SessionEndedError):
                async with session:
                    await session.room_joined.wait()
                    await world.polled()
                    if way == "ended by the service":
                        world.service.says(latest_update_text="duration_limit_reached")
                        await session.ended.wait()
                    elif way == "ended in the block":
                        await session.end()
            assert session.ended.is_set()
            return weakref.ref(session)

        async def end_and_answer(session: ConversationSession) -> None:
            await world.server.seen(1)
            await session.end()
            gate.set()

        gc.collect()
        gc.disable()
        try:
            reference = await live()
            assert reference() is None
        finally:
            gc.enable()


# A quarter of them connect, half of them poll, over real sockets: that takes 3 to 8 s, and fewer would show less.
@pytest.mark.parametrize("cycles", [1_000, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
async def test_many_cycles(cycles: int) -> None:
    """Sessions opened and closed, over and over, leave no more tasks, descriptors and objects than the first 400."""
    async with steered(poll=PollPolicy(interval=1e-6, live_interval=60.0)) as world:
        world.service.says(**READY)
        for number in range(400):
            await cycle(world, number)
        world.server.requests.clear()
        tasks, descriptors, objects = held()
        for number in range(cycles):
            await cycle(world, number)
        assert world.connects == cycles // 4
        world.server.requests.clear()
        tasks_now, descriptors_now, objects_now = held()
        assert tasks_now <= tasks + 2
        assert descriptors_now <= descriptors + 2
        assert objects_now <= objects + cycles // 2, "each session kept something"


async def test_connect_cancelled_at_any_step() -> None:
    """A connect cancelled at any step either never arrives or is known: no conversation is lost from sight."""
    async with Simulator(speed=0, auto_join=False) as sim, AkapuluClient(sim.api_key, base_url=sim.base_url) as client:
        made, known = 0, 0
        for steps in range(25):
            session = client.session(REQUEST)
            opening = asyncio.create_task(session.open())
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            # A later request was answered, so the connect has arrived if it was sent.
            with pytest.raises(NotFoundError):
                await client.conversations.updates(uuid4())
            now = len(sim.conversations)
            assert (now > made) == (session._lifecycle.session_id is not None), f"cancelled at step {steps}"
            made, known = now, known + (now > made)
            await session.end()
    assert 0 < known < 25
