"""A session from its connect to its end: against the simulator for its life, a steered service for its troubles."""

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
    SessionSnapshot,
    SessionState,
    StateChanged,
    TransportError,
    UpdateSignals,
)
from akapulu_async.session import session as session_module
from akapulu_async.simulator import ConversationEnd, Fault, Simulator
from tests.support.managed import until
from tests.support.misbehaving import (
    CONNECTION,
    OTHER_SESSION,
    PATIENCE,
    REQUEST,
    SESSION,
    TOKEN,
    UPDATE,
    Peer,
    Seen,
    answer,
    close,
    gated,
    hang,
    http,
)
from tests.support.steered import QUICK_POLL, READY, Steered, session_tasks, steered

CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState
LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"debug": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


@asynccontextmanager
async def simulated(*, speed: float = 200, **options: Any) -> AsyncGenerator[tuple[Simulator, AkapuluClient]]:
    """Open a quick simulator and a client of it; see to it that no task is left."""
    async with Simulator(speed=speed, **{"seed": 1, "ready_time": 5.0, **options}) as sim:
        async with AkapuluClient(sim.api_key, base_url=sim.base_url, poll=QUICK_POLL) as client:
            yield sim, client
        assert session_tasks() == []


def states(events: list[Any]) -> list[SessionState]:
    return [event.state for event in events if isinstance(event, StateChanged)]


# The whole life


@LOOPS
async def test_life(anyio_backend: object) -> None:
    """A conversation passes through all its states, with progress between, and is completed when its user leaves."""
    async with simulated(call_seconds=10) as (sim, client):
        async with client.session(REQUEST) as session:
            assert session.state is CONNECTING
            events = [event async for event in session.events()]
        assert states(events) == [*SessionState]
        assert session.end_reason is EndReason.COMPLETED
        assert session.cause is None
        texts = [event.text for event in events if isinstance(event, ProgressChanged)]
        assert "bot ready" in texts
        assert session.progress.percent == 100
        times = [session.elapsed(state) for state in SessionState]
        assert times == sorted(time for time in times if time is not None)
        assert sim.conversations[session.id].end_reason is ConversationEnd.USER_LEFT
        assert sim.count("connect") == 1


WAYS: dict[str, tuple[dict[str, Any], EndReason]] = {
    "user left": ({"call_seconds": 5}, EndReason.COMPLETED),
    "ending node": ({"end_with_script": True, "call_seconds": None}, EndReason.COMPLETED),
    "cap": ({"max_call_seconds": 5}, EndReason.DURATION_LIMIT_REACHED),
    "minutes": ({"minutes": 1, "call_seconds": None}, EndReason.DURATION_LIMIT_REACHED),
    "nobody joined": ({"auto_join": False, "participant_join_timeout": 5}, EndReason.PARTICIPANT_JOIN_TIMEOUT),
    "expired": ({"max_lifetime": 20, "call_seconds": None}, EndReason.COMPLETED),
}


@pytest.mark.parametrize("after_end", ["text", "not_found", "gone"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_end_that_is_told(way: str, after_end: Any) -> None:
    """However a conversation ends, in words or by a refusal, the session ends; only words tell the special reasons."""
    options, by_words = WAYS[way]
    silent = EndReason.FAILED if way == "nobody joined" else EndReason.COMPLETED
    async with simulated(after_end=after_end, **options) as (_, client), client.session(REQUEST) as session:
        async with asyncio.timeout(5):
            await session.ended.wait()
        assert session.end_reason is (by_words if after_end == "text" else silent)
        assert isinstance(session.cause, NotFoundError) == (session.end_reason is EndReason.FAILED)
        assert session.bot_ready.is_set() == (way != "nobody joined")


@pytest.mark.parametrize("way", WAYS)
async def test_end_that_is_not_told(way: str) -> None:
    """If the service says nothing new after the end, the session goes on until it is left or its timeout strikes."""
    options, _ = WAYS[way]
    async with simulated(after_end="unchanged", **options) as (sim, client), client.session(REQUEST) as session:
        if way != "nobody joined":
            await session.bot_ready.wait()
        await sim.wait_until(lambda: sim.conversations[session.id].end_reason is not None)
        await sim.wait_for_request("updates", count=sim.count("updates") + 3)
        assert session.end_reason is None
    assert session.end_reason is EndReason.LEFT


async def test_body_failure_leaves() -> None:
    """However the block is left, the session is left: an error of the block's comes out as it is."""
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
    """When connecting fails, entering raises that error, and who waited is told reason and cause."""
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
    """A session of a client that is not open cannot be entered, and says what to do."""
    session = AkapuluClient("key", base_url="http://127.0.0.1:9").session(REQUEST)
    with pytest.raises(ClosedError, match="not open"):
        async with session:
            pass
    assert session.end_reason is EndReason.CONNECT_FAILED


async def test_lives_once() -> None:
    """A session cannot be entered a second time, neither while it lives nor after; that does not disturb the first."""
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
async def test_unusable_ready_timeout(seconds: float) -> None:
    """A ready timeout that is no number of seconds greater than 0 is refused, before anything is sent."""
    client = AkapuluClient("key", base_url="http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="ready_timeout"):
        client.session(REQUEST, ready_timeout=seconds)
    with pytest.raises(ConfigurationError, match="ready_timeout"):
        client.attach(SESSION, ready_timeout=seconds)


# The ready timeout


async def test_ready_timeout() -> None:
    """A bot that does not get ready in time ends the session, and the polling with it."""
    async with steered() as world, world.client.session(REQUEST, ready_timeout=0.05) as session:
        with pytest.raises(SessionEndedError, match="raise ready_timeout to wait longer"):
            await session.bot_ready.wait()
        assert session.end_reason is EndReason.READY_TIMEOUT
        await session.end()
        assert session.end_reason is EndReason.READY_TIMEOUT
        assert session_tasks() == []


async def test_no_ready_timeout_after_ready() -> None:
    """The ready timeout means nothing to a bot that got ready in time."""
    async with steered() as world:
        world.service.says(**READY)
        async with world.client.session(REQUEST, ready_timeout=0.1) as session:
            await session.bot_ready.wait()
            async for event in session.events():
                if event.elapsed >= 0.15:
                    break
                if isinstance(event, StateChanged) and event.state is BOT_READY:
                    asyncio.get_running_loop().call_later(0.2, lambda: world.service.says(latest_update_text="hi"))
            assert session.end_reason is None


# Polling


async def test_one_poll_on_its_way() -> None:
    """At most one poll is on its way, however long it takes, and the end of the session cancels it."""
    async with steered(poll=PollPolicy(interval=0.001)) as world:
        world.service.update = hang
        async with world.client.session(REQUEST) as session:
            await world.server.until(lambda: world.polls == 1)
            async with world.client.attach(OTHER_SESSION):
                await world.server.until(lambda: world.polls == 2)
            assert session.polls == 0
            await session.end()
            await world.server.abandoned()
            assert session_tasks() == []
        assert world.polls == 2


async def ticks(sim: Simulator, client: AkapuluClient, count: int) -> None:
    """Let another session poll so many times, in place of a clock."""
    async with client.session(REQUEST) as other:
        await sim.wait_for_request("updates", conversation_id=other.id, count=count)


async def test_live_interval() -> None:
    """After ready, polls come at the live interval."""
    async with simulated(call_seconds=None) as (sim, client):
        poll = PollPolicy(interval=0.01, live_interval=60.0, jitter=0.0)
        async with client.session(REQUEST, poll=poll) as session:
            await session.bot_ready.wait()
            seen = sim.count("updates", conversation_id=session.id)
            await ticks(sim, client, 20)
            assert sim.count("updates", conversation_id=session.id) == seen


async def test_the_policy_is_told_of_the_progress() -> None:
    """A poll policy learns the percent, how long ago the connect was, and for how long the percent has stood still."""
    told: list[tuple[float, float, float]] = []

    @attrs.frozen
    class Listening(PollPolicy):
        def until_ready(self, percent: float, elapsed: float, still: float) -> float:
            told.append((percent, elapsed, still))
            return self.interval

    async with steered(poll=Listening(interval=0.001)) as world, world.client.session(REQUEST) as session:
        for percent in (0, 30, 60):
            world.service.says(completion_percent=percent)
            await world.polled(4)
        world.service.says(**READY)
        await session.bot_ready.wait()
    assert told.pop(0) == (0, 0, 0)
    assert [elapsed for _, elapsed, _ in told] == sorted(elapsed for _, elapsed, _ in told)
    rose = {percent: [elapsed - still for each, elapsed, still in told if each == percent] for percent in (0, 30, 60)}
    assert all(len(moments) > 1 and moments == pytest.approx(moments[:1] * len(moments)) for moments in rose.values())
    assert 0 == rose[0][0] < rose[30][0] < rose[60][0]


async def test_fewer_polls_with_progress() -> None:
    """A session whose policy heeds the progress gets as far with fewer polls."""
    speed = 20.0
    usual = PollPolicy(0.5 / speed, 5 / speed)
    rare = ProgressPollPolicy(0.5 / speed, 5 / speed, longest=2.5 / speed)
    async with (
        simulated(speed=speed, ready_time=12.0) as (sim, client),
        client.session(REQUEST, poll=usual, participant=sim.participant) as often,
        client.session(REQUEST, poll=rare, participant=sim.participant) as seldom,
    ):
        for session in (often, seldom):
            await session.bot_ready.wait()
        # Side by side, so that what slows the one slows the other.
        assert 1 < seldom.polls < often.polls
        assert seldom.room_joined.is_set()


async def test_retry_after() -> None:
    """A poll that is told to wait waits, and the session can be left meanwhile."""
    async with simulated() as (sim, client), client.session(REQUEST) as session:
        await sim.wait_for_request("updates", conversation_id=session.id)
        sim.add_fault(
            Fault(route="updates", conversation_id=session.id, status=429, headers={"Retry-After": "60"}, times=None)
        )
        hits = sim.faults[0]
        await sim.wait_until(lambda: hits.hits == 1)
        await ticks(sim, client, 20)
        assert hits.hits == 1
        assert session.end_reason is None


async def test_failures_are_borne() -> None:
    """As many failures in a row as the policy bears disturb nobody."""
    async with steered() as world:
        unwell, ready = answer({"error": "no"}, 503), answer({**UPDATE, **READY})
        script = [unwell, close, answer(UPDATE), answer(body=b"<html>"), unwell, ready]

        async def follow(peer: Peer, seen: Seen) -> None:
            await (script.pop(0) if len(script) > 1 else script[0])(peer, seen)

        world.service.update = follow
        async with world.client.session(REQUEST) as session:
            await session.bot_ready.wait()
            assert (session.polls, session.poll_failures) == (6, 4)


@pytest.mark.parametrize("code", ["TOO_MANY_CONCURRENT_REQUESTS", "USAGE_LIMIT", "RATE_LIMIT_PER_MINUTE"])
async def test_limits_are_borne_whatever_they_are_called(code: str) -> None:
    """A poll that is refused with a 429 is borne like any other, also if its code reads like a limit of the account."""
    async with steered() as world:
        limited, ready = answer({"error": "no", "error_code": code}, 429), answer({**UPDATE, **READY})
        script = [limited, limited, ready]

        async def follow(peer: Peer, seen: Seen) -> None:
            await (script.pop(0) if len(script) > 1 else script[0])(peer, seen)

        world.service.update = follow
        async with world.client.session(REQUEST) as session:
            await session.bot_ready.wait()
            assert (session.polls, session.poll_failures) == (3, 2)


async def test_too_many_failures() -> None:
    """One failure more than the policy bears ends the session, and its cause is the last one."""
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


async def test_poller_cancelled_from_outside() -> None:
    """Should anybody cancel the polling, the session ends with that cause: nobody waits for what is not asked for."""
    async with steered() as world, world.client.session(REQUEST) as session:
        await world.polled()
        assert session._poller is not None
        session._poller.cancel()
        with pytest.raises(SessionEndedError):
            await session.bot_ready.wait()
        assert isinstance(session.cause, asyncio.CancelledError)
        assert session._poller.cancelled(), "and its own cancel is not swallowed"


async def test_poll_policy_of_session_or_client() -> None:
    """A session polls as it is told, else as the client is."""
    async with steered(poll=PollPolicy(interval=60.0)) as world:
        async with world.client.session(REQUEST, poll=QUICK_POLL):
            await world.polled(3)
        async with world.client.session(REQUEST) as session:
            assert session._settings.poll.interval == 60.0


# Joining


async def test_mark_room_joined() -> None:
    """The application can say that somebody joined; a second time, or after the end, it changes nothing."""
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
async def test_participant(anyio_backend: object) -> None:
    """A participant joins after the connect, which is room_joined, and leaves at the end, which hangs up."""
    async with simulated(auto_join=False, call_seconds=None) as (sim, client):
        async with client.session(REQUEST, participant=sim.participant) as session:
            await session.room_joined.wait()
            assert sim.conversations[session.id].joined_at is not None
            await session.bot_ready.wait()
            assert sim.open_conversations == 1
        assert sim.open_conversations == 0
        assert sim.conversations[session.id].end_reason is ConversationEnd.USER_LEFT
        assert session.end_reason is EndReason.LEFT


class Guest:
    """A participant whose joining and leaving do what the test wants."""

    def __init__(
        self, join: Callable[[], Any] | None = None, leave: Callable[[], Any] | None = None, inside: Any = None
    ) -> None:
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
    """If joining fails, the session ends with that cause, which is told without the token."""
    cause = (AttributeError, TypeError) if cause is AttributeError else cause  # type: ignore[assignment]
    async with steered() as world, world.client.session(REQUEST, participant=participant) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.room_joined.wait()
        assert caught.value.reason is EndReason.FAILED
        assert isinstance(caught.value.__cause__, cause)
        assert TOKEN not in str(caught.value), "although what the participant raised quotes it"


@pytest.mark.shows_secrets  # in the participant's own exception
async def test_failing_participant_does_not_show_the_token() -> None:
    """What a participant says when it cannot join is told without the token that it was given, pickled or not."""
    async with steered() as world, world.client.session(REQUEST, participant=Guest(fail)) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
        for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own  # noqa: S301 - our own
            assert "no device for ***" in str(error)
            assert TOKEN not in str(error)


@pytest.mark.shows_secrets  # in the participant's own exception
async def test_events_do_not_show_the_token() -> None:
    """An event whose cause quotes the token shows the cause's kind, and not what it says."""
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
    """A participant that leaves when it wants to, as one does that has a cancel scope or a task group of its own."""

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
    """A participant that leaves by itself ends the session: completed, or failed if the bot was not ready yet."""
    guest = Fickle()
    async with steered() as world, world.client.session(REQUEST, participant=guest) as session:
        await guest.inside.wait()
        if ready:
            world.service.says(**READY)
            await session.bot_ready.wait()
        guest.scope.cancel()
        async with asyncio.timeout(PATIENCE):
            await session.ended.wait()
        assert (session.end_reason, session.cause) == (reason, None)
        await session.end()
        assert session_tasks() == []


async def test_participant_leaves_when_the_conversation_ends() -> None:
    """When the service tells the end, the participant leaves at once, not only when the block is left."""
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


async def test_what_goes_on_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Who leaves a conversation that may go on is told which: at WARNING if it began it and was cancelled."""
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
        assert caplog.record_tuples == [], "whose participant hangs up, or what is over, does not go on"


async def test_participant_still_joining_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A participant that is still joining when the session ends is cancelled, since there is nothing to join."""
    async with steered() as world:
        guest = Guest(forever)
        async with world.client.session(REQUEST, participant=guest) as session:
            await world.polled()
            assert guest.log == ["joins"]
        assert session.end_reason is EndReason.LEFT
        assert session.cause is None
        assert guest.log == ["joins"]
        assert session_tasks() == []
        assert not caplog.text, "it was not waited for"


async def test_participant_does_not_leave_cleanly(caplog: pytest.LogCaptureFixture) -> None:
    """A failure to leave is a warning without secrets, and changes nothing of how the session ended."""
    async with steered() as world:
        async with world.client.session(REQUEST, participant=Guest(leave=fail)) as session:
            await session.room_joined.wait()
        assert (session.end_reason, session.cause) == (EndReason.LEFT, None)
        assert "failed to leave: no device" in caplog.text
        assert TOKEN not in caplog.text


async def test_participant_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A participant that does not leave in time is cancelled, with a warning."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", 0.02)
    async with steered() as world:
        guest = Guest(leave=forever)
        async with world.client.session(REQUEST, participant=guest) as session:
            await session.room_joined.wait()
        assert guest.log == ["joins", "joined", "leaves"]
        assert session_tasks() == []
        assert "did not leave in time" in caplog.text
        assert "ignored cancellation" not in caplog.text


async def test_participant_ignores_its_cancellation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A participant that does not even heed its cancellation does not hold up the end; a warning names it."""
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


async def test_several_who_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When several end a session at once, a participant that does not leave in time is cancelled once."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", 0.05)
    cancels = 0

    async def slow() -> None:
        nonlocal cancels
        try:
            await forever()
        except asyncio.CancelledError:
            cancels += 1
            try:
                await asyncio.wait_for(forever(), 0.03)
            except asyncio.CancelledError:
                cancels += 1

    async with steered() as world, world.client.session(REQUEST, participant=Guest(leave=slow)) as session:
        await session.room_joined.wait()
        first = asyncio.create_task(session.end())
        await asyncio.wait([first], timeout=0.02)
        await asyncio.gather(first, session.end(), session.end())
        assert cancels == 1


async def test_participant_ends_the_session() -> None:
    """A participant can end the session itself, from within its own task, without waiting for itself."""
    async with steered() as world:
        sessions: list[ConversationSession] = []

        async def hang_up() -> None:
            async with asyncio.timeout(1):
                await sessions[0].end()

        session = world.client.session(REQUEST, participant=Guest(join=hang_up))
        sessions.append(session)
        async with session:
            await session.ended.wait()
        assert session.end_reason is EndReason.LEFT


async def test_participant_ends_the_session_while_it_leaves() -> None:
    """A participant that calls `end()` on its way out is waited for all the same."""
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
            asyncio.get_running_loop().call_later(0.05, may_leave.set)
        assert guest.log[-1] == "left"
        assert session_tasks() == []


class Quit(BaseException):
    """As a test framework's or an interpreter's own exceptions are, it is no `Exception`."""


async def quit_at_once() -> None:
    raise Quit


async def test_participant_raises_what_is_no_exception() -> None:
    """Whatever a participant raises ends its session, and is told to the event loop besides if it is no mere error."""
    told: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    async with steered() as world, world.client.session(REQUEST, participant=Guest(quit_at_once)) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
    assert caught.value.reason is EndReason.FAILED
    assert isinstance(caught.value.__cause__, Quit)
    del session, caught
    gc.collect()
    assert [type(error) for error in told] == [Quit]


class Buggy(UpdateSignals):
    """Signals with a bug."""

    def gone(self, *, ready: bool) -> EndReason | None:
        raise LookupError


async def test_a_bug_in_the_signals_ends_the_session_with_true_figures() -> None:
    """A poll counts as one, also if its refusal is read by what has a bug."""
    async with steered() as world:
        world.service.refuses(404)
        async with world.client.session(REQUEST, signals=Buggy()) as session:
            await session.ended.wait()
    assert session.end_reason is EndReason.FAILED
    assert (session.polls, session.poll_failures) == (1, 1)


# Ending


async def test_end() -> None:
    """end() ends the session and waits until nothing of it runs; it can be called again, by several at once."""
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
    """Before it is entered there is nothing to end: that does nothing, and the session can still be entered."""
    async with steered() as world:
        session = world.client.session(REQUEST)
        await session.end()
        assert session.state is CONNECTING
        async with session:
            await world.polled()
        assert session.end_reason is EndReason.LEFT


async def test_end_while_connecting(caplog: pytest.LogCaptureFixture) -> None:
    """A session that is ended while it connects is not entered; it knows the conversation that it made, and warns."""
    async with steered() as world:
        gate = asyncio.Event()
        connect = world.service.connect

        async def gated(peer: Peer, seen: Seen) -> None:
            await gate.wait()
            await connect(peer, seen)

        world.service.connect = gated
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
    """Whatever the service says after the end is not heard."""
    async with steered() as world, world.client.session(REQUEST) as session:
        await session.end()
        world.service.says(**READY)
        assert not session.bot_ready.is_set()
        assert states([event async for event in session.events()]) == [CONNECTING, ENDED]


# Elsewhere


@LOOPS
async def test_attach_by_id(anyio_backend: object) -> None:
    """A conversation that was connected elsewhere shows the same states and events, and is not ended by leaving."""
    async with simulated(call_seconds=20) as (sim, client):
        connection = await client.conversations.connect(REQUEST)
        async with client.attach(connection.conversation_session_id) as brief:
            await brief.room_joined.wait()
        assert sim.open_conversations == 1
        async with client.attach(connection.conversation_session_id) as session:
            events = [event async for event in session.events()]
        assert states(events) == [*SessionState]
        assert session.end_reason is EndReason.COMPLETED


async def test_attach_by_snapshot() -> None:
    """With a snapshot, the states that were entered are there at once with their times, and the rest follows."""
    async with simulated(call_seconds=None) as (sim, client), client.session(REQUEST) as first:
        await first.bot_ready.wait()
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


async def test_attach_to_what_is_over() -> None:
    """The snapshot of a session that is over is over at once, and nothing is asked."""
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


async def test_attach_to_the_unknown() -> None:
    """Attaching to what the service does not know fails every wait with its refusal."""
    async with simulated() as (_, client), client.attach(OTHER_SESSION) as session:
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
        assert caught.value.reason is EndReason.FAILED
        assert isinstance(caught.value.__cause__, NotFoundError)


def long_ago() -> SessionSnapshot:
    return SessionSnapshot(SESSION, datetime.now(UTC) - timedelta(hours=1), {CONNECTING: 0.0})


async def test_taken_up_late() -> None:
    """What is taken up after its ready timeout may have got ready meanwhile: one poll tells."""
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
    """With a snapshot the ready timeout counts from the connect."""
    began_at = datetime.now(UTC) - timedelta(seconds=99.95)
    async with steered() as world:
        snapshot = SessionSnapshot(SESSION, began_at, {CONNECTING: 0.0})
        async with world.client.attach(snapshot, ready_timeout=100) as session:
            async with asyncio.timeout(2):
                await session.ended.wait()
            assert session.end_reason is EndReason.READY_TIMEOUT
            assert session.elapsed(ENDED) == pytest.approx(100, abs=1.5)


async def test_the_pause_counts_from_the_beginning_of_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll whose answer takes three of ten seconds is followed by a pause of seven."""
    clock, pauses, second = [100.0], list[float](), asyncio.Event()

    async def pause(_: ConversationSession, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            second.set()
            await asyncio.Event().wait()

    async def slow(peer: Peer, seen: Seen) -> None:
        clock[0] += 3.0
        await answer(UPDATE)(peer, seen)

    monkeypatch.setattr(ConversationSession, "_now", staticmethod(lambda: clock[0]))
    monkeypatch.setattr(ConversationSession, "_pause", pause)
    async with steered(poll=PollPolicy(interval=10.0, jitter=0.0)) as world:
        world.service.update = slow
        async with world.client.session(REQUEST, ready_timeout=None):
            await second.wait()
    assert pauses[1] == 7.0


async def test_detail() -> None:
    """detail() brings what the service keeps of this conversation, also after the end."""
    async with simulated(call_seconds=5) as (_, client), client.session(REQUEST) as session:
        await session.ended.wait()
        detail = await session.detail()
        assert detail.id == session.id
        assert detail.scenario_id == REQUEST.scenario_id
    with pytest.raises(ClosedError):
        await client.session(REQUEST).detail()


async def test_own_signals_of_a_session() -> None:
    """A session reads the service's words as its signals do."""
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
    """Connect a session or attach one, wait for its bot or leave at once."""
    session = world.client.session(REQUEST) if number % 4 == 0 else world.client.attach(SESSION)
    async with session:
        if number % 2 == 0:
            await session.bot_ready.wait()


def held() -> tuple[int, int, int]:
    """Return how many tasks, file descriptors and objects there are, of what a session is made of or may hold."""
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    return len(asyncio.all_tasks()), descriptors, len(gc.get_objects())


@pytest.mark.parametrize("way", ["left", "ended by the service", "ended in the block", "ended while it connects"])
async def test_freed_at_once(way: str) -> None:
    """An ended session that nobody holds is freed without the collector, which may be far behind, or frozen."""
    async with steered() as world:
        gate = asyncio.Event()
        if way == "ended while it connects":
            world.service.connect = gated(b"", gate, http(200, {}, json.dumps(CONNECTION).encode()))

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
@pytest.mark.timeout(60)
async def test_ten_thousand_cycles() -> None:
    """Ten thousand sessions opened and closed leave no more tasks, descriptors and objects than one thousand did."""
    async with steered(poll=PollPolicy(interval=1e-6, live_interval=60.0)) as world:
        world.service.says(**READY)
        for number in range(1_000):
            await cycle(world, number)
        world.server.requests.clear()
        tasks, descriptors, objects = held()
        for number in range(9_000):
            await cycle(world, number)
        assert world.connects == 2_250
        world.server.requests.clear()
        tasks_now, descriptors_now, objects_now = held()
        assert tasks_now <= tasks + 2
        assert descriptors_now <= descriptors + 2
        # One object kept by each session would be 9,000.
        assert objects_now <= objects + 500


async def test_connect_cancelled_at_any_step() -> None:
    """Whenever a connect is cancelled, it either never arrives or is known: no conversation is lost from sight."""
    async with Simulator(speed=0, auto_join=False) as sim, AkapuluClient(sim.api_key, base_url=sim.base_url) as client:
        made, known = 0, 0
        for steps in range(25):
            session = client.session(REQUEST)
            opening = asyncio.create_task(session.open())
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            # What was sent has arrived when something that was sent later is answered.
            with pytest.raises(NotFoundError):
                await client.conversations.updates(uuid4())
            now = len(sim.conversations)
            assert (now > made) == (session._lifecycle.session_id is not None), f"cancelled at step {steps}"
            made, known = now, known + (now > made)
            await session.end()
    assert 0 < known < 25
