"""Reading a session and waiting for it: every wait ends, with the state or with the reason why it cannot come."""

# ruff: noqa: PT012 - the tests are about the contexts and what happens inside them

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from types import NoneType
from typing import Any

import anyio
import pytest

from akapulu_async import (
    ApiError,
    AuthenticationError,
    ClosedError,
    ConfigurationError,
    ConversationSession,
    EndReason,
    NotFoundError,
    PollPolicy,
    ProgressChanged,
    ServerError,
    SessionEndedError,
    SessionEvent,
    SessionState,
    StateChanged,
    UpdateSignals,
    WaitTimeoutError,
)
from akapulu_async.session import event_log
from tests.support.managed import LOOPS, kept_events, loop_rounds, soon
from tests.support.misbehaving import CONNECTION, PATIENCE, REQUEST, SESSION, TOKEN, UPDATE, Peer, Seen, answer
from tests.support.steered import READY, Steered, session_tasks, steered

CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState
pytestmark = LOOPS


@asynccontextmanager
async def live(**options: Any) -> AsyncGenerator[tuple[Steered, ConversationSession]]:
    """Open a session with a service whose answers the test sets."""
    async with steered() as world, world.client.session(REQUEST, **options) as session:
        yield world, session


async def ready_session(world: Steered, session: ConversationSession) -> None:
    world.service.says(**READY)
    await session.bot_ready.wait()


# Reading


async def test_before_entering() -> None:
    """Before it is entered, a session is connecting, and reading what is not known yet raises."""
    async with steered() as world:
        session = world.client.session(REQUEST)
        assert session.state is CONNECTING
        assert (session.end_reason, session.cause, session.polls, session.poll_failures) == (None, None, 0, 0)
        assert (session.time_to_connection, session.time_to_room, session.time_to_ready) == (None, None, None)
        assert not session.room_joined.is_set()
        for look in (lambda: session.id, lambda: session.connection, session.snapshot, session.mark_room_joined):
            with pytest.raises(ClosedError):
                look()


async def test_connected() -> None:
    """A connected session has its id, room, token and link to join."""
    async with live() as (_, session):
        assert session.id == SESSION
        assert session.connection.conversation_session_id == SESSION
        assert session.room_url == CONNECTION["room_url"]
        assert session.token.reveal() == TOKEN
        assert session.join_url == f"{CONNECTION['room_url']}?t={TOKEN}"


async def test_attached_knows_no_room() -> None:
    """Room and token of an attached conversation are not known here, and reading them says so."""
    async with steered() as world, world.client.attach(SESSION) as session:
        assert session.id == SESSION
        assert session.time_to_connection is None
        for name in ("connection", "room_url", "token", "join_url"):
            with pytest.raises(ClosedError, match="known only to the session that connected"):
                getattr(session, name)


async def test_times() -> None:
    """The times of each state are available, as seconds and as UTC timestamps."""
    before = datetime.now(UTC)
    async with live() as (world, session):
        assert session.time_to_connection is not None
        assert session.time_to_room is None
        assert session.entered_at(ROOM_JOINED) is None
        await ready_session(world, session)
        assert session.time_to_room is not None
        assert session.time_to_ready is not None
        assert 0 < session.time_to_connection <= session.time_to_room <= session.time_to_ready
        began = session.entered_at(CONNECTING)
        assert began is not None
        assert before - timedelta(seconds=1) < began <= datetime.now(UTC)
        ready_at = session.entered_at(BOT_READY)
        assert ready_at is not None
        assert began.tzinfo is ready_at.tzinfo is UTC


async def test_polls_are_counted() -> None:
    """The completed polls are counted, and the failed ones among them."""
    unwell = answer({"error": "no"}, 503)
    async with steered() as world:
        world.service.follows(unwell, unwell, answer({**UPDATE, **READY}))
        async with world.client.session(REQUEST) as session:
            await session.bot_ready.wait()
            assert (session.polls, session.poll_failures) == (3, 2)


async def test_no_text_contains_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """No text about a session, its events, its errors or its snapshot contains the token."""
    caplog.set_level(logging.DEBUG)
    async with live() as (world, session):
        await ready_session(world, session)
        world.service.says(latest_update_text="conversation ended")
        events = [event async for event in session.events()]
        with pytest.raises(SessionEndedError) as caught:
            async with session.ready():
                raise AssertionError("entered")
        texts = [repr(session), repr(session.bot_ready), repr(events), str(session.snapshot().to_json())]
        assert SESSION in repr(session)
        assert not [text for text in (*texts, repr(caught.value), str(caught.value), caplog.text) if TOKEN in text]


# Waiting


async def test_waiting_before_entering() -> None:
    """Waiting on a session that was not entered raises and says to enter it; events() can be read from before."""
    async with steered() as world:
        session = world.client.session(REQUEST)
        waits: list[Callable[[], Awaitable[object]]] = [
            session.room_joined.wait,
            session.bot_ready.wait,
            session.ended.wait,
            lambda: session.wait_for(CONNECTING, timeout=PATIENCE),
            session.ready().__aenter__,
        ]
        for wait in waits:
            with pytest.raises(ClosedError, match="enter it with `async with session:`"):
                async with asyncio.timeout(PATIENCE):
                    await wait()
        watcher = session.events()
        async with session:
            event = await anext(watcher)
            assert isinstance(event, StateChanged)
            assert event.state is CONNECTING
            await ready_session(world, session)


class HarshSignals(UpdateSignals):
    """Signals that read some texts as a failure, even of a conversation that was ready."""

    def reads_as_end(self, text: str) -> EndReason | None:
        return EndReason.FAILED if text.startswith("crashed") else super().reads_as_end(text)


@pytest.mark.parametrize(
    ("text", "quoted"), [("conversation ended", "conversation ended"), (f"crashed\nwith {TOKEN}", "crashed with ***")]
)
async def test_a_failure_without_an_error_quotes_the_last_text(text: str, quoted: str) -> None:
    """If the service reports the end before the bot was ready, the error quotes its last text, without secrets."""
    async with live(signals=HarshSignals()) as (world, session):
        world.service.says(latest_update_text=text)
        with pytest.raises(SessionEndedError) as caught:
            await session.bot_ready.wait()
        assert (caught.value.reason, caught.value.__cause__) == (EndReason.FAILED, None)
        assert (
            caught.value.because
            == f"The service reported the end before the bot was ready; its last status text: {quoted}"
        )
        assert caught.value.because in str(caught.value)


async def test_a_failure_after_ready() -> None:
    """If signals read a failure after the bot was ready, the error does not say that it was not."""
    async with live(signals=HarshSignals()) as (world, session):
        await ready_session(world, session)
        with pytest.raises(SessionEndedError, match=r"its last status text: crashed\.$") as caught:
            async with session.ready():
                world.service.says(latest_update_text="crashed")
                await asyncio.Event().wait()
        assert "before" not in caught.value.because


async def test_a_state_event_has_no_truth_value() -> None:
    """`if session.ended:` raises and names `is_set()`, instead of always being true."""
    async with live() as (_, session):
        for event, name in ((session.ended, "ended"), (session.bot_ready, "bot_ready")):
            with pytest.raises(TypeError, match=rf"session\.{name}\.is_set\(\)"):
                bool(event)


@pytest.mark.parametrize("state", ["ready", "BOT_READY", "", None, 5])
async def test_an_unknown_state_is_refused(state: Any) -> None:
    """Waiting for an unknown state is refused with the four that exist; their texts are accepted."""
    async with live() as (_, session):
        states = "'connecting', 'room_joined', 'bot_ready', 'ended'"
        with pytest.raises(ConfigurationError, match=f"^state must be one of {states}, not "):
            await session.wait_for(state)
        with pytest.raises(ConfigurationError, match=f"^state must be one of {states}, not "):
            await session.phase(state).__aenter__()
        await session.wait_for("connecting", timeout=PATIENCE)  # type: ignore[arg-type]


async def test_waits_end_with_their_state() -> None:
    """The event of each state is set with it and stays set; its wait returns then and later."""
    async with live() as (world, session):
        waits = [asyncio.create_task(event.wait()) for event in (session.room_joined, session.bot_ready, session.ended)]
        world.service.says(latest_update_text="bot joined daily room")
        await waits[0]
        assert session.room_joined.is_set()
        assert not session.bot_ready.is_set()
        world.service.says(**READY)
        await waits[1]
        assert not waits[2].done()
        world.service.says(latest_update_text="conversation ended")
        await waits[2]
        for event in (session.room_joined, session.bot_ready, session.ended):
            assert event.is_set()
            await event.wait()


async def test_wait_for() -> None:
    """wait_for returns at once for a state that was entered, current or past."""
    async with live() as (world, session):
        await ready_session(world, session)
        for state in (CONNECTING, ROOM_JOINED, BOT_READY):
            await session.wait_for(state, timeout=0)


async def test_wait_for_timeout_ends_nothing() -> None:
    """A wait's own timeout raises a TimeoutError that says how far the session is, and ends nothing."""
    async with live() as (world, session):
        world.service.says(completion_percent=63.6, latest_update_text="loading")
        async for event in session.events():
            if isinstance(event, ProgressChanged):
                break
        with pytest.raises(WaitTimeoutError, match=r"64 % loading") as caught:
            await session.wait_for(BOT_READY, timeout=0.02)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.awaited, caught.value.state, caught.value.timeout) == (BOT_READY, CONNECTING, 0.02)
        with pytest.raises(WaitTimeoutError):
            await session.wait_for(BOT_READY, timeout=0)
        assert session.end_reason is None
        await ready_session(world, session)


@pytest.mark.parametrize("timeout", [float("nan"), "5"])
async def test_unusable_timeout(timeout: Any) -> None:
    """A timeout that is not a number of seconds is refused: NaN would disturb every timer of the loop."""
    async with live() as (_, session):
        with pytest.raises(ConfigurationError, match=r"^timeout must be a number of seconds or None, not "):
            await session.wait_for(BOT_READY, timeout=timeout)


async def test_the_text_in_a_timeout() -> None:
    """The service's text is quoted in one short line, without the token."""
    async with live() as (world, session):
        world.service.says(completion_percent=50, latest_update_text=f"a\x1b[2J\n{TOKEN}" + "!" * 1000)
        async for event in session.events():
            if isinstance(event, ProgressChanged):
                break
        with pytest.raises(WaitTimeoutError) as caught:
            await session.wait_for(BOT_READY, timeout=0.02)
        assert caught.value.progress.startswith("50 % a [2J ***!!!")
        assert len(caught.value.progress) == len("50 % ") + 200


async def test_cancelled_wait_ends_nothing() -> None:
    """A cancelled wait ends nothing, whatever cancelled it."""
    async with live() as (world, session):
        task = asyncio.create_task(session.bot_ready.wait())
        await world.polled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await session.wait_for(BOT_READY, timeout=PATIENCE)
        assert not isinstance(caught.value, WaitTimeoutError), "it is the caller's own timeout"
        with anyio.move_on_after(0.01) as scope:
            await session.wait_for(BOT_READY, timeout=PATIENCE)
        assert scope.cancelled_caught
        await ready_session(world, session)


@pytest.mark.parametrize(
    "end",
    [
        (EndReason.LEFT, None),
        (EndReason.FAILED, AuthenticationError),
        (EndReason.PARTICIPANT_JOIN_TIMEOUT, None),
        (EndReason.READY_TIMEOUT, None),
    ],
    ids=lambda end: end[0],
)
async def test_waiting_for_a_state_that_cannot_come(end: tuple[EndReason, type[ApiError] | None]) -> None:
    """Waiting for a state that can no longer come raises at once, with the reason and the cause."""
    reason, cause = end
    async with live(ready_timeout=0.05 if reason is EndReason.READY_TIMEOUT else None) as (world, session):
        if reason is EndReason.LEFT:
            await session.end()
        elif reason is EndReason.FAILED:
            world.service.refuses(401)
        elif reason is EndReason.PARTICIPANT_JOIN_TIMEOUT:
            world.service.says(latest_update_text=reason.value)
        await session.ended.wait()
        for wait in (session.bot_ready.wait, session.room_joined.wait, lambda: session.wait_for(BOT_READY, timeout=0)):
            with pytest.raises(SessionEndedError) as caught:
                await wait()
            assert (caught.value.reason, caught.value.session_id) == (reason, SESSION)
            assert caught.value.__cause__ is session.cause
            assert isinstance(session.cause, cause or type(None))
        await session.ended.wait()
        await session.wait_for(CONNECTING)


class RaisingSignals(UpdateSignals):
    """Signals with a bug."""

    def reads_as_end(self, text: str) -> EndReason | None:
        raise LookupError(text)

    def refused(self, error: ApiError, *, ready: bool) -> EndReason | None:
        raise LookupError(str(ready))


async def wait_for_ready(session: ConversationSession) -> None:
    await session.wait_for(BOT_READY, timeout=PATIENCE)


async def read_events(session: ConversationSession) -> None:
    events: list[SessionEvent] = []
    try:
        async for event in session.events():
            events.append(event)  # noqa: PERF401 - the events before the error count
    finally:
        assert isinstance(events[-1], StateChanged)
        assert events[-1].state is ENDED


async def in_ready(session: ConversationSession) -> None:
    async with session.ready():
        raise AssertionError("entered")


async def in_connecting(session: ConversationSession) -> None:
    async with session.phase(CONNECTING):
        await asyncio.Event().wait()


WAITERS: list[Callable[[ConversationSession], Awaitable[None]]] = [
    lambda session: session.room_joined.wait(),
    lambda session: session.bot_ready.wait(),
    wait_for_ready,
    read_events,
    in_ready,
    in_connecting,
]


def refuse(status: int) -> Callable[[Steered], None]:
    return lambda world: world.service.refuses(status)


@pytest.mark.parametrize(
    ("break_it", "signals", "cause"),
    [
        (refuse(401), UpdateSignals(), AuthenticationError),
        (refuse(404), UpdateSignals(), NotFoundError),
        (refuse(503), UpdateSignals(), ServerError),  # more often than the policy allows
        (lambda world: world.service.says(latest_update_text="?"), RaisingSignals(), LookupError),
        (refuse(410), RaisingSignals(), LookupError),
    ],
    ids=["refused in mid-poll", "unknown", "too many failures", "signals raise on a text", "signals raise on a 410"],
)
async def test_every_wait_raises_a_failure(
    break_it: Callable[[Steered], None], signals: UpdateSignals, cause: type[Exception]
) -> None:
    """When polling fails, every kind of wait raises with the cause; only the wait for the end returns."""
    async with steered() as world:
        gate = asyncio.Event()
        world.service.update = lambda peer, seen: _held(gate, world, peer, seen)
        async with world.client.session(REQUEST, signals=signals) as session:
            waiters = [asyncio.ensure_future(waiter(session)) for waiter in WAITERS]
            ended = asyncio.create_task(session.ended.wait())
            await world.server.until(lambda: world.polls == 1)
            assert not any(waiter.done() for waiter in (*waiters, ended))
            break_it(world)
            gate.set()
            results = await soon(asyncio.gather(*waiters, return_exceptions=True))
            await soon(ended)
        for result in results:
            assert isinstance(result, SessionEndedError), result
            assert result.reason is EndReason.FAILED
            assert isinstance(result.__cause__, cause)
        assert session.end_reason is EndReason.FAILED


async def _held(gate: asyncio.Event, world: Steered, peer: Peer, seen: Seen) -> None:
    """Answer a poll once the gate is open, with the answer that is set by then."""
    await gate.wait()
    await world.service.update(peer, seen)


# Watching


async def test_events_from_start_to_end() -> None:
    """All watchers, started before, during or after, get the same events from the start, and close after the end."""
    async with steered() as world:
        session = world.client.session(REQUEST)

        async def watch() -> list[SessionEvent]:
            return [event async for event in session.events()]

        early = asyncio.create_task(watch())
        async with session:
            await ready_session(world, session)
            during = [asyncio.create_task(watch()) for _ in range(10)]
            world.service.says(latest_update_text="conversation ended")
            await session.ended.wait()
        seen = await early
        assert [event.state for event in seen if isinstance(event, StateChanged)] == [*SessionState]
        assert seen == await watch()
        assert [seen] * 10 == await asyncio.gather(*during)
        assert isinstance(seen[-1], StateChanged)
        assert seen[-1].end_reason is EndReason.COMPLETED
        assert {event.session_id for event in seen[1:]} == {SESSION}
        assert seen[0].session_id is None


async def test_slow_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that does not read slows neither the others nor the polling, and memory stays bounded."""
    kept = 20
    monkeypatch.setattr(event_log, "KEPT_PROGRESS", kept)
    number = 0

    async def chatter(peer: Peer, seen: Seen) -> None:
        nonlocal number
        number += 1
        await answer({**UPDATE, "latest_update_text": f"word {number}"})(peer, seen)

    async with steered() as world:
        world.service.update = chatter
        async with world.client.session(REQUEST, poll=PollPolicy(interval=1e-6, jitter=0.0)) as session:
            slow = session.events()
            await anext(slow)
            async for event in session.events():
                if isinstance(event, ProgressChanged) and event.text == f"word {5 * kept}":
                    break
            # A queue would hold all of them for the slow one.
            assert len(kept_events(session)) <= 2 * kept + len(SessionState)
            await session.end()
            rest = [event async for event in slow]
        words = [int(event.text.split()[1]) for event in rest if isinstance(event, ProgressChanged)]
        assert words == list(range(words[0], words[-1] + 1)), "the latest, without a gap"
        assert len(words) >= kept
        assert rest[-1] == [event async for event in session.events()][-1]


async def test_leaving_events_early() -> None:
    """Breaking out of events() leaves no task, no waiter and no warning."""
    async with live() as (world, session):
        for _ in range(100):
            async for _event in session.events():
                break
            watcher = session.events()
            await anext(watcher)
            waiting = asyncio.ensure_future(anext(watcher))
            await loop_rounds(1)
            waiting.cancel()
            await asyncio.wait([waiting])
        gc.collect()
        assert session_tasks() == [f"akapulu poll {SESSION}"]
        assert not [task for task in asyncio.all_tasks() if "__anext__" in repr(task)]
        await world.polled()


# Contexts


async def test_ready_waits_and_runs() -> None:
    """ready() runs its body once the bot is ready, and yields the session; a body that returns raises nothing."""
    async with live() as (world, session):
        callbacks = [*session._end_callbacks]
        asyncio.get_running_loop().call_soon(lambda: world.service.says(**READY))
        async with session.ready() as call:
            assert call is session
            assert session.state is BOT_READY
        assert session.end_reason is None
        assert session._end_callbacks == callbacks, "a block that was left cannot be cancelled"


@pytest.mark.parametrize("state", [CONNECTING, ROOM_JOINED, BOT_READY])
async def test_phase_is_cancelled_at_the_end(state: SessionState) -> None:
    """The body of a phase is cancelled when the conversation ends, and SessionEndedError gives the reason."""
    async with live() as (world, session):
        await ready_session(world, session)
        cancelled = False
        with pytest.raises(SessionEndedError) as caught:
            async with session.phase(state):
                world.service.says(latest_update_text="duration_limit_reached")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        assert cancelled
        assert caught.value.reason is EndReason.DURATION_LIMIT_REACHED
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()


async def test_phase_after_the_end() -> None:
    """A phase that is over cannot be entered. The phase `ended` can, and is not cancelled."""
    async with live() as (world, session):
        await ready_session(world, session)
        await session.end()
        with pytest.raises(SessionEndedError):
            async with session.phase(BOT_READY):
                raise AssertionError("entered")
        async with session.phase(ENDED):
            await asyncio.wait([asyncio.ensure_future(session.ended.wait())])


async def test_exception_of_the_body() -> None:
    """The body's own exception is raised unchanged, even if the conversation ends at the same moment."""
    async with live() as (world, session):
        await ready_session(world, session)
        with pytest.raises(ZeroDivisionError):
            async with session.ready():
                raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            async with session.ready():
                world.service.says(latest_update_text="conversation ended")
                try:
                    await asyncio.Event().wait()
                finally:
                    raise ZeroDivisionError


async def test_end_inside_the_body() -> None:
    """A body that ends the session itself is not cancelled, and ends without an error."""
    async with live() as (world, session):
        await ready_session(world, session)
        async with session.ready():
            await session.end()
            await loop_rounds()
            left = True
        assert left
        assert session.end_reason is EndReason.LEFT


async def test_ready_in_a_task_group() -> None:
    """In a task group, the end cancels the bodies alone, and each raises SessionEndedError."""
    async with live() as (world, session):
        await ready_session(world, session)

        async def body(log: list[str]) -> None:
            async with session.ready():
                log.append("in")
                await asyncio.Event().wait()

        async def outer(log: list[str]) -> None:
            try:
                await body(log)
            except SessionEndedError as error:
                log.append(error.reason)

        logs: list[list[str]] = [[], [], []]
        async with asyncio.TaskGroup() as group:
            for log in logs:
                group.create_task(outer(log))
            await world.polled(2)
            world.service.says(latest_update_text="conversation ended")
        assert logs == [["in", "completed"]] * 3


async def test_task_group_inside_ready() -> None:
    """A task group inside the body is cancelled with it, and only SessionEndedError comes out."""
    async with live() as (world, session):
        await ready_session(world, session)
        children: list[asyncio.Task[bool]] = []
        with pytest.raises(SessionEndedError):
            async with session.ready(), asyncio.TaskGroup() as group:
                children += [group.create_task(asyncio.Event().wait()) for _ in range(2)]
                world.service.says(latest_update_text="conversation ended")
        assert all(child.cancelled() for child in children)


async def test_failing_sibling_around_ready() -> None:
    """When a sibling in the task group fails, the body is cancelled and the group raises the sibling's error alone."""
    async with live() as (world, session):
        await ready_session(world, session)

        async def body() -> None:
            async with session.ready():
                await asyncio.Event().wait()

        async def fail() -> None:
            await world.polled()
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(body())
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert session.end_reason is None


async def test_callers_timeouts_around_and_inside_ready() -> None:
    """The caller's timeouts around and inside ready(), asyncio's and anyio's, behave as usual and end nothing."""
    async with live() as (world, session):
        await ready_session(world, session)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), session.ready():
                await asyncio.Event().wait()
        async with session.ready():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.Event().wait()
        with anyio.move_on_after(0.02) as scope:
            async with session.ready():
                await asyncio.Event().wait()
        assert scope.cancelled_caught
        async with session.ready():
            with anyio.move_on_after(0.02) as scope:
                await asyncio.Event().wait()
            assert scope.cancelled_caught
        assert session.end_reason is None


async def test_end_within_scopes() -> None:
    """The end reaches a body through the caller's timeouts and scopes, which do not take it for their own."""
    for scope in (lambda: asyncio.timeout(PATIENCE), anyio.CancelScope, lambda: anyio.fail_after(PATIENCE)):
        async with live() as (world, session):
            await ready_session(world, session)
            with pytest.raises(SessionEndedError):
                async with session.ready():
                    world.service.says(latest_update_text="conversation ended")
                    entered: Any = scope()
                    if isinstance(entered, asyncio.Timeout):
                        async with entered:
                            await asyncio.Event().wait()
                    else:
                        with entered:
                            await asyncio.Event().wait()


async def test_nested_phases() -> None:
    """Phases can be nested, also of different sessions; the error is that of the session that ended."""
    async with live() as (world, first):
        await ready_session(world, first)
        async with world.client.attach(SESSION) as second:
            with pytest.raises(SessionEndedError) as caught:
                async with first.ready(), second.ready(), first.phase(ROOM_JOINED):
                    asyncio.get_running_loop().call_soon(second._finish, EndReason.COMPLETED)
                    await asyncio.Event().wait()
            assert caught.value.reason is EndReason.COMPLETED
            assert first.end_reason is None


async def finish_soon(session: ConversationSession) -> None:
    """End a session from outside, once its block waits."""
    asyncio.get_running_loop().call_soon(session._finish, EndReason.COMPLETED)


async def test_the_consumer_of_a_generator_is_cancelled_once() -> None:
    """A block around the `yield` of a generator cancels its consumer once; closing the generator takes that back."""
    async with live() as (world, session):
        await ready_session(world, session)
        task = asyncio.current_task()
        assert task is not None

        async def numbers() -> AsyncGenerator[int]:
            async with session.ready():
                for number in range(10):
                    yield number

        generator = numbers()
        assert await anext(generator) == 0
        await finish_soon(session)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        await loop_rounds()  # each of them would be cancelled again
        assert task.cancelling() == 1
        with pytest.raises(SessionEndedError):
            await generator.aclose()
        assert task.cancelling() == 0
        await loop_rounds()


async def test_a_real_cancel_of_the_consumer() -> None:
    """Closing such a generator because its consumer was cancelled, too, raises nothing in the place of that cancel."""
    async with live() as (world, session):
        await ready_session(world, session)
        inside = asyncio.Event()

        async def numbers() -> AsyncGenerator[int]:
            async with session.ready():
                yield 0

        async def consume() -> None:
            async with aclosing(numbers()) as generator:
                async for _ in generator:
                    inside.set()
                    await asyncio.Event().wait()

        consumer = asyncio.create_task(consume())
        await inside.wait()
        session._finish(EndReason.COMPLETED)
        asyncio.get_running_loop().call_soon(consumer.cancel)
        await asyncio.wait([consumer])
        assert consumer.cancelled()
        assert consumer.cancelling() == 1


@pytest.mark.parametrize("ended", [False, True])
async def test_left_in_another_task(ended: bool) -> None:
    """A block that is left in another task than it was entered in raises an error that says so."""
    async with live() as (world, session):
        await ready_session(world, session)
        block = session.ready()
        stay = asyncio.Event()

        async def enter() -> int:
            await block.__aenter__()
            with suppress(asyncio.CancelledError):
                await stay.wait()
            await stay.wait()
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        entering = asyncio.create_task(enter())
        await loop_rounds()
        if ended:
            session._finish(EndReason.COMPLETED)
            await loop_rounds()
        with pytest.raises(ClosedError, match="must be left in the task that entered it"):
            await block.__aexit__(None, None, None)
        if not ended:
            stay.set()
            await loop_rounds()
        stay.set()
        assert await entering == 0, "the cancel was not taken back"


async def test_a_cancel_that_leaves_the_block_in_another_task() -> None:
    """A cancel of the task that leaves the block of another task is raised unchanged."""
    async with live() as (world, session):
        await ready_session(world, session)
        block = session.ready()
        await asyncio.create_task(_entered(block))
        await block.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)


async def _entered(block: Any) -> None:
    await block.__aenter__()


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_block_that_swallows_the_cancel(awaits: bool) -> None:
    """A block that ignores its cancel is cancelled no more, and ends in SessionEndedError."""
    async with live() as (world, session):
        await ready_session(world, session)
        finished = False
        with pytest.raises(SessionEndedError) as caught:
            async with session.ready():
                await finish_soon(session)
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                if awaits:
                    await loop_rounds()
                finished = True
        assert finished
        assert caught.value.reason is EndReason.COMPLETED
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_a_block_that_is_left_as_the_session_ends() -> None:
    """A block that returns before the cancel reaches it ends in SessionEndedError, and nothing is cancelled later."""
    async with live() as (world, session):
        await ready_session(world, session)
        with pytest.raises(SessionEndedError):
            async with session.ready():
                asyncio.get_running_loop().call_soon(session._finish, EndReason.COMPLETED)
                await loop_rounds(1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await loop_rounds()


class Ways:
    """Ways to be cancelled from elsewhere, around a body. `cancel` does it."""

    cancel: Callable[[], object]

    async def timeout(self, body: Awaitable[None]) -> None:
        async with asyncio.timeout(None) as timeout:
            self.cancel = lambda: timeout.reschedule(0)
            await body

    async def group(self, body: Awaitable[None]) -> None:
        async def fail() -> None:
            raise ZeroDivisionError

        async with asyncio.TaskGroup() as group:
            self.cancel = lambda: group.create_task(fail())
            await body

    async def scope(self, body: Awaitable[None]) -> None:
        with anyio.CancelScope() as scope:
            self.cancel = scope.cancel
            await body

    async def task(self, body: Awaitable[None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.cancel = task.cancel
        await body


@pytest.mark.parametrize("order", ["end first", "cancel first"])
@pytest.mark.parametrize(
    ("way", "raised"),
    [
        (Ways.task, asyncio.CancelledError),
        (Ways.timeout, TimeoutError),
        (Ways.group, ExceptionGroup),
        # A scope whose cancel comes second finds a task that is about to be cancelled, and waits for its next await.
        (Ways.scope, (NoneType, SessionEndedError)),
    ],
)
async def test_ended_and_cancelled_at_the_same_moment(way: Any, raised: Any, order: str) -> None:
    """A cancel from elsewhere at the moment of the end is never taken for the end."""
    async with live() as (world, session):
        await ready_session(world, session)
        inside, ways = asyncio.Event(), Ways()

        async def body() -> None:
            async with session.phase(ROOM_JOINED), session.ready():
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(way(ways, body()))
        await inside.wait()
        end = partial(session._finish, EndReason.COMPLETED)
        for step in (end, ways.cancel) if order == "end first" else (ways.cancel, end):
            step()
        result: object
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, raised)
        if isinstance(result, ExceptionGroup):
            assert ZeroDivisionError in {type(error) for error in result.exceptions}
