"""Many sessions in one manager, which owns them, keeps them within limits and ends them."""

import asyncio
import gc
import json
import logging
import math
import re
import sys
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import NoneType
from typing import Any
from uuid import UUID, uuid4

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
    ConnectRequest,
    ConversationSession,
    EndReason,
    EventsMissed,
    FullPolicy,
    GateEvent,
    ManagerClosedError,
    ManagerEvent,
    MinutesLimitError,
    NotFoundError,
    Observer,
    SessionEndedError,
    SessionEvent,
    SessionManager,
    SessionState,
    StartTimeoutError,
    StateChanged,
    UpdateSignals,
)
from akapulu_async.http import transport as transport_module
from akapulu_async.manager import manager as manager_module
from akapulu_async.manager.rate_limiter import RateLimiter
from akapulu_async.session import session as session_module
from akapulu_async.simulator import Fault, Simulator
from tests.support.far_timer import NEVER, far_timer
from tests.support.managed import (
    FULL,
    LOOPS,
    NO_MINUTES,
    crowded,
    get_ready,
    loop_rounds,
    simulated,
    slow_to_leave,
    soon,
    starting,
    until,
)
from tests.support.misbehaving import API_KEY, PATIENCE, REQUEST, SESSION, UPDATE, answer, gated, hang, http
from tests.support.steered import Clock, session_tasks, steered

CONNECTING, ROOM_JOINED, BOT_READY, ENDED = SessionState
QUICK_FULL = FullPolicy(base=0.01, cap=0.05)
LONG_FULL = FullPolicy(base=1000.0, cap=1000.0)  # longer than any test


@asynccontextmanager
async def managed(sim: dict[str, Any] | None = None, **options: Any) -> AsyncGenerator[Any]:
    """Open a simulator and a manager of its conversations."""
    async with simulated(**(sim or {})) as (simulator, client), SessionManager(client, **options) as manager:
        yield simulator, manager


class Participant:
    """Counts how often it is inside, and leaves when the test lets it."""

    def __init__(self) -> None:
        self.leaving, self.leaves = asyncio.Event(), asyncio.Event()
        self.inside = 0
        self.cancels = 0

    @asynccontextmanager
    async def __call__(self, _: Connection) -> AsyncIterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.leaving.set()
            try:
                await self.leaves.wait()
            except asyncio.CancelledError:
                self.cancels += 1
                raise
            self.inside -= 1


# Settings


BAD_SETTINGS: list[tuple[str, list[Any]]] = [
    ("max_sessions", [0, -1, 1.5, "5", float("nan"), float("inf"), True, 10**400, 10**5000]),
    ("max_polls_per_second", [0, -1, "5", float("nan"), float("inf"), True, 10**400, 10**5000]),
    ("max_connects_per_second", [0, -1.5, "5", float("nan"), float("inf"), True, 10**400, 10**5000]),
    ("when_full", ["", "waiting", None, ["wait"], 10**5000]),
    ("full", [None, 5, "wait", 10**5000]),
    ("ready_timeout", [0, -1, float("nan"), "1", True, 10**400, 10**5000]),
    ("poll", [0, 0.5, "fast", 10**5000]),
    ("participant", [5, "me"]),
    ("signals", [None, 5, "joined", 10**5000]),
    ("client", [None, 5, API_KEY]),
]


@pytest.mark.parametrize(("name", "values"), BAD_SETTINGS, ids=[name for name, _ in BAD_SETTINGS])
@pytest.mark.shows_secrets  # frames hold what a caller put in the wrong place
def test_bad_settings(name: str, values: list[Any]) -> None:
    """A setting that makes no sense is refused, and the message names it."""
    client = AkapuluClient(API_KEY)
    for value in values:
        with pytest.raises(ConfigurationError, match=f"^{name} must |^{name}: "):
            SessionManager(**{"client": client, name: value})


async def test_bad_arguments() -> None:
    """An argument that makes no sense is refused, and the message names it."""
    async with SessionManager(AkapuluClient(API_KEY)) as manager:
        bad: list[Any] = [0, -1, 2.5, "5", True, 10**400, 10**5000]
        for value in bad:
            with pytest.raises(ConfigurationError, match=r"^buffer"):
                manager.events(buffer=value)
            with pytest.raises(ConfigurationError, match=r"^concurrency"):
                manager.run([], lambda _: asyncio.sleep(0), concurrency=value)
        no_handlers: list[Any] = [None, 5, SESSION]
        for wrong in no_handlers:
            with pytest.raises(ConfigurationError, match=r"^handler"):
                manager.run([], wrong)
        for wrong in ("no id", ""):
            with pytest.raises(ConfigurationError):
                manager.get(wrong)
            with pytest.raises(ConfigurationError):
                await manager.attach(wrong)
        no_requests: list[Any] = [{}, SESSION, None]
        for wrong in no_requests:
            with pytest.raises(ConfigurationError, match=r"^request\b"):
                await manager.start(wrong)
            with pytest.raises(ConfigurationError, match=r"^request\b"):
                await manager.session(wrong).__aenter__()
        assert await manager.drain(timeout=0) is True, "a refused call left something"


def test_created_without_a_loop() -> None:
    """A manager can be created without a running loop and used in a loop later."""
    manager = SessionManager(AkapuluClient(API_KEY), max_sessions=3)
    assert manager.sessions == ()
    assert manager.statistics().started == 0
    asyncio.run(manager.aclose())


# Opening and closing


@LOOPS
async def test_opened_in_one_task_and_closed_in_another() -> None:
    """Opening, starting and closing may each happen in a different task."""
    async with simulated() as (sim, client):
        manager = SessionManager(client, participant=sim.participant)
        await asyncio.create_task(manager.open())
        session = await starting(manager)
        await get_ready(sim, session)
        await asyncio.create_task(manager.aclose())
        assert session.end_reason is EndReason.LEFT
        assert sim.open_conversations == 0


@pytest.fixture
async def world() -> AsyncGenerator[Any]:
    """Keep a manager open for a test."""
    async with managed() as world:
        yield world


async def test_held_by_a_fixture(world: Any) -> None:
    """A fixture can open a manager for a test."""
    sim, manager = world
    await get_ready(sim, await manager.start(REQUEST))


async def test_accepts_sessions_only_while_open() -> None:
    """Before opening and after closing, starts are refused and nothing is sent."""
    async with crowded() as world:
        manager = SessionManager(world.client)

        async def refuses() -> None:
            for start in (manager.start(REQUEST), manager.attach(SESSION), manager.session(REQUEST).__aenter__()):
                with pytest.raises(ManagerClosedError, match="not open"):
                    await start
            with pytest.raises(ManagerClosedError):
                manager.run([], lambda _: asyncio.sleep(0))

        await refuses()
        async with manager:
            await manager.start(REQUEST)
        await refuses()
        assert world.connects == 1
        assert (manager.sessions, manager.statistics().waiting) == ((), 0)
        async with manager:
            events = manager.events()
            await manager.start(REQUEST)
            assert isinstance(await anext(events), StateChanged)
        assert world.connects == 2


@LOOPS
async def test_closing_ends_the_rest() -> None:
    """Closing ends what runs, connects and waits, and leaves no task; a second time it does nothing."""
    participant = Participant()
    participant.leaves.set()
    async with crowded() as world:
        manager = SessionManager(world.client, max_sessions=3, participant=participant)
        await manager.open()
        sessions = [await manager.start(REQUEST) for _ in range(2)]
        world.crowd.gate.clear()
        connecting, waiting = starting(manager), starting(manager)
        await world.connecting(3)
        await until(lambda: participant.inside == 2)
        assert (len(manager.sessions), manager.statistics().live[CONNECTING]) == (2, 1)
        closing = asyncio.create_task(manager.aclose())
        await until(lambda: not participant.inside)
        assert not closing.done(), "the answer to the connect is missing"
        world.crowd.gate.set()
        await soon(closing)
        assert session_tasks() == []
        assert [session.end_reason for session in sessions] == [EndReason.LEFT] * 2
        for task in (connecting, waiting):
            with pytest.raises(ManagerClosedError):
                await task
        assert manager.sessions == ()
        await manager.aclose()
        await asyncio.gather(manager.aclose(), manager.aclose())


async def test_closing_is_bounded_when_the_service_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that answers nothing does not hold up the closing."""
    monkeypatch.setattr(transport_module, "LATE_ANSWER", 0.1)
    async with crowded() as world:
        manager = SessionManager(world.client)
        await manager.open()
        await manager.start(REQUEST)
        world.crowd.gate.clear()
        hanging = starting(manager)
        await world.connecting(2)
        await manager.aclose()
        with pytest.raises(ManagerClosedError, match="while the session was connecting"):
            await hanging
        assert manager.statistics().ended[EndReason.CANCELLED] == 1
        assert "could not be ended" not in caplog.text


async def test_a_participant_that_does_not_leave(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A participant that does not leave in time is cancelled and logged once, even if others end its session too."""
    monkeypatch.setattr(session_module, "LEAVE_GRACE", NEVER)
    participant = Participant()
    async with crowded() as world, SessionManager(world.client, participant=participant) as manager:
        session = await manager.start(REQUEST)
        await until(lambda: participant.inside)
        with far_timer() as strike:
            ends = [asyncio.create_task(end) for end in (session.end(), manager.aclose(), session.end())]
            await participant.leaving.wait()
        strike()
        await soon(asyncio.gather(*ends))
        assert participant.cancels == 1
    warnings = [record.getMessage() for record in caplog.records]
    assert len([text for text in warnings if session.id in text and "did not leave in time" in text]) == 1


async def test_closing_logs_what_it_cannot_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing returns after its time limit, and logs what still runs."""
    monkeypatch.setattr(manager_module, "CLOSE_GRACE", 0.1)
    freed = asyncio.Event()

    async def stubborn(_: ConversationSession) -> None:
        while not freed.is_set():
            with suppress(asyncio.CancelledError):
                await freed.wait()

    async with crowded() as world:
        manager = SessionManager(world.client)
        await manager.open()
        run = asyncio.create_task(_run_until_left(manager, stubborn))
        await world.connecting()
        await until(lambda: any(session.state is not CONNECTING or session.polls for session in manager.sessions))
        world.crowd.gate.clear()
        connecting = starting(manager)
        await world.connecting(2)
        await manager.aclose()
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert any("could not be ended in time: a handler" in text for text in texts)
        assert any("<ConversationSession None connecting> could not be ended in time" in text for text in texts)
        freed.set()
        world.crowd.gate.set()
        await run
        with pytest.raises(ManagerClosedError):
            await connecting


async def _run_until_left(manager: SessionManager, handler: Any) -> None:
    async with manager.run([REQUEST], handler) as run:
        with suppress(ManagerClosedError):
            await anext(run)


@LOOPS
async def test_cancelled_closing() -> None:
    """A cancelled aclose() finishes before it raises: sessions end, and events() closes."""
    participant = Participant()
    async with crowded() as world:
        manager = SessionManager(world.client, participant=participant)
        await manager.open()
        session = await manager.start(REQUEST)
        await until(lambda: participant.inside)
        listener = manager.events()
        closing = asyncio.create_task(manager.aclose())
        await soon(session.ended.wait())
        closing.cancel()
        closing.cancel()
        await asyncio.sleep(0)
        assert not closing.done()
        participant.leaves.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert session_tasks() == []
        assert [event.state async for event in listener if isinstance(event, StateChanged)][-1] is ENDED


# Draining


@LOOPS
async def test_draining() -> None:
    """Draining refuses new and waiting starts, and returns when the last session has ended."""
    async with managed({"call_seconds": 20}, max_sessions=2) as (sim, manager):
        running = [await manager.start(REQUEST) for _ in range(2)]
        waiting = starting(manager)
        await until(lambda: manager.statistics().waiting)
        draining = asyncio.create_task(manager.drain())
        with pytest.raises(ManagerClosedError, match="before the session could be started"):
            await waiting
        with pytest.raises(ManagerClosedError):
            await manager.start(REQUEST)
        await get_ready(sim, *running)
        assert not draining.done()
        sim.advance(20)
        assert await soon(draining) is True
        assert [session.end_reason for session in running] == [EndReason.COMPLETED] * 2
        assert session_tasks() == []
        assert await manager.drain(timeout=0) is True


async def test_unusable_timeouts() -> None:
    """A timeout that is not a number of seconds is refused, and nothing is started or drained."""
    async with crowded() as world, SessionManager(world.client) as manager:
        for wrong in (math.nan, 10**400):
            for call in (
                manager.start(REQUEST, timeout=wrong),
                manager.session(REQUEST, timeout=wrong).__aenter__(),
                manager.drain(timeout=wrong),
            ):
                with pytest.raises(ConfigurationError, match=r"^timeout\b"):
                    await call
        assert world.server.requests == []
        await manager.start(REQUEST)


async def test_draining_times_out() -> None:
    """Sessions that run or connect after drain()'s timeout continue, and can be drained again."""
    async with crowded() as world, SessionManager(world.client) as manager:
        session = await manager.start(REQUEST)
        world.crowd.gate.clear()
        connecting = starting(manager)
        await world.connecting(2)
        assert await manager.drain(timeout=0.05) is False
        assert not session.ended.is_set()
        world.crowd.gate.set()
        other = await connecting
        assert not other.ended.is_set()
        await session.end()
        assert await manager.drain(timeout=0.05) is False
        await other.end()
        assert await manager.drain(timeout=PATIENCE) is True


@pytest.mark.parametrize("limit", [1, None])
async def test_a_start_that_meets_the_draining(limit: int | None) -> None:
    """A start that has only begun when the draining begins sends no connect."""
    async with crowded() as world, SessionManager(world.client, max_sessions=limit) as manager:
        running = await manager.start(REQUEST)
        task, draining = starting(manager), asyncio.create_task(manager.drain())
        with pytest.raises(ManagerClosedError):
            await soon(task)
        await running.end()
        assert await soon(draining) is True
        assert world.connects == 1


async def test_draining_waits_for_participants() -> None:
    """Draining is done when participants have left their rooms, not when conversations end."""
    participant = Participant()
    async with crowded() as world, SessionManager(world.client, participant=participant) as manager:
        session = await manager.start(REQUEST)
        await until(lambda: participant.inside)
        ending = asyncio.create_task(session.end())
        await session.ended.wait()
        assert await manager.drain(timeout=0.05) is False
        participant.leaves.set()
        assert await manager.drain(timeout=PATIENCE) is True
        await ending


async def test_full_account_while_draining() -> None:
    """A connect refused by a full account after the draining began is not tried again."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=QUICK_FULL) as manager:
        world.crowd.gate.clear()
        world.crowd.refusals = [FULL]
        task = starting(manager)
        await world.connecting()
        draining = asyncio.create_task(manager.drain())
        await asyncio.sleep(0)
        world.crowd.gate.set()
        with pytest.raises(ConcurrencyLimitError):
            await task
        assert await soon(draining) is True
        assert world.connects == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before Python 3.12")
async def test_eager_tasks() -> None:
    """With eager tasks, which run as soon as they are created, closing still ends all sessions."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - does not exist in older Pythons
    try:
        async with crowded() as world:
            manager = SessionManager(world.client)
            await manager.open()
            sessions = [await manager.start(REQUEST) for _ in range(4)]
            await manager.aclose()
            assert [session.end_reason for session in sessions] == [EndReason.LEFT] * 4
    finally:
        loop.set_task_factory(None)


async def test_a_bug_in_the_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while sessions are ended is raised by aclose()."""
    async with crowded() as world:
        manager = SessionManager(world.client)
        await manager.open()
        with monkeypatch.context() as patched:
            patched.setattr(manager._registry, "listeners", None)
            with pytest.raises(TypeError, match="NoneType"):
                await manager.aclose()
        await manager.aclose()


async def test_opened_while_it_closes() -> None:
    """A manager that is opened again before its closing is over keeps publishing events."""
    participant = Participant()
    async with crowded() as world:
        manager = SessionManager(world.client, participant=participant)
        await manager.open()
        first = await manager.start(REQUEST)
        await first.room_joined.wait()
        closing = asyncio.create_task(manager.aclose())
        await first.ended.wait()
        async with manager:
            events = manager.events()
            participant.leaves.set()
            await closing
            for listener in (events, manager.events()):
                news = asyncio.ensure_future(listener.__anext__())
                await asyncio.sleep(0)
                await manager.start(REQUEST)
                assert isinstance(await soon(news), StateChanged)


def test_used_on_two_loops() -> None:
    """A closed manager can be opened, used and drained on another event loop."""
    made: list[SessionManager] = []

    async def day() -> None:
        async with crowded() as world:
            made.append(made[0] if made else SessionManager(world.client, max_sessions=1, max_polls_per_second=50.0))
            manager = made[-1]
            manager._registry._conversations = world.client.conversations
            async with manager:
                session = await manager.start(REQUEST)
                waiting = starting(manager)
                draining = asyncio.create_task(manager.drain())
                with pytest.raises(ManagerClosedError):
                    await waiting
                await session.end()
                assert await soon(draining) is True

    asyncio.run(day())
    asyncio.run(day())


# Closed from inside


PLACES = "handler", "iterable", "participant"


class Closing:
    """Two requests of one run. The first closes the manager from some place, once the second is under way."""

    def __init__(self, world: Any, where: str, call: str) -> None:
        self.where, self.call, self.ids = where, call, world.crowd.ids
        self.log: list[str] = []
        self.others, self.release, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.manager = SessionManager(world.client, participant=self.participant)

    async def requests(self) -> AsyncIterator[ConnectRequest]:
        yield REQUEST
        yield REQUEST
        await self.closes("iterable")

    async def closes(self, place: str) -> None:
        if place == self.where:
            await self.close()
        elif f"child of the {place}" == self.where:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.close())

    async def close(self) -> None:
        await self.others.wait()
        if self.call == "drain":
            asyncio.get_running_loop().call_soon(self.release.set)
        try:
            await getattr(self.manager, self.call)()
        finally:  # a participant that is still joining is cancelled, as always
            self.log.append("closed")
            self.closed.set()

    @asynccontextmanager
    async def participant(self, connection: Connection) -> AsyncIterator[None]:
        first = connection.conversation_session_id == self.ids[0]
        if first:
            await self.closes("participant")
        yield
        if not first:
            await loop_rounds(5)
            self.log.append("other participant")

    async def handler(self, session: ConversationSession) -> str:
        if session.id == self.ids[0]:
            await self.closes("handler")
            # Only a session whose own code drains is left out.
            await (self.release if "iterable" in self.where else session.ended).wait()
            return "done"
        await session.room_joined.wait()
        self.others.set()
        try:
            await self.release.wait()
        finally:
            await loop_rounds(5)
            self.log.append("other handler")
        return "done"


def in_time(caplog: pytest.LogCaptureFixture) -> bool:
    """Return True if nothing that should have ended was reported as late."""
    return not [record for record in caplog.records if re.search("in time|ignored", record.getMessage())]


@LOOPS
@pytest.mark.parametrize("call", ["aclose", "drain"])
@pytest.mark.parametrize("where", [*PLACES, *(f"child of the {place}" for place in PLACES)])
async def test_closed_from_inside(where: str, call: str, caplog: pytest.LogCaptureFixture) -> None:
    """A handler, iterable or participant that closes or drains the manager waits for all others, but not for itself."""
    async with crowded() as world:
        closing = Closing(world, where, call)
        async with closing.manager as manager, manager.run(closing.requests(), closing.handler):
            await soon(closing.closed.wait())
        assert closing.log == ["other handler", "other participant", "closed"]
        assert in_time(caplog)
        assert session_tasks() == []


async def test_the_outcome_of_a_handler_that_closes() -> None:
    """A handler that closes the manager is not cancelled, and its outcome is read before the error."""
    async with crowded() as world:
        closing = Closing(world, "handler", "aclose")
        async with closing.manager as manager, manager.run(closing.requests(), closing.handler) as run:
            outcome = await soon(anext(run))
            assert (outcome.index, outcome.value, outcome.error) == (0, "done", None)
            assert outcome.session.end_reason is EndReason.LEFT
            with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                await soon(anext(run))


async def test_a_handler_that_closes_is_waited_for_by_others() -> None:
    """The owner of a manager cancels a handler that closed it from inside, or does so now, and waits for it."""
    log: list[str] = []
    inside = asyncio.Event()
    participant = Participant()

    async def handler(_: ConversationSession) -> None:
        try:
            log.append("closes")
            inside.set()
            await manager.aclose()
            await asyncio.Event().wait()
        finally:
            await loop_rounds(5)
            log.append("handled")

    async with (
        crowded() as world,
        SessionManager(world.client, participant=participant) as manager,
        manager.run([REQUEST], handler),
    ):
        await inside.wait()
        closing = asyncio.create_task(manager.aclose())
        await loop_rounds(5)
        participant.leaves.set()
        await soon(closing)
        log.append("closed")
    assert log == ["closes", "handled", "closed"]


@pytest.mark.parametrize("call", ["aclose", "drain"])
@pytest.mark.parametrize("where", ["handler", "participant"])
async def test_closed_by_several(where: str, call: str, caplog: pytest.LogCaptureFixture) -> None:
    """Handlers and participants that close or drain their manager at the same time do not wait for each other."""
    log: list[int] = []
    arrived: list[int] = []
    begun = asyncio.Event()

    async def close(place: str, number: int) -> None:
        if place == where:
            arrived.append(number)
            if number == 0:
                await until(lambda: len(arrived) == 3)
                begun.set()
            with suppress(asyncio.CancelledError):
                await begun.wait()
                await loop_rounds(5 * number)  # the others are waiting already
            try:
                await getattr(manager, call)()
            finally:  # each cancels the other handlers
                log.append(number)

    @asynccontextmanager
    async def participant(connection: Connection) -> AsyncIterator[None]:
        yield
        await close("participant", world.crowd.ids.index(connection.conversation_session_id))

    async def handler(session: ConversationSession) -> None:
        await session.room_joined.wait()
        if where == "participant":
            await session.end()
        await close("handler", world.crowd.ids.index(session.id))

    async with (
        crowded() as world,
        SessionManager(world.client, participant=participant) as manager,
        manager.run([REQUEST] * 3, handler),
    ):
        await until(lambda: len(log) == 3)
    assert in_time(caplog)


@pytest.mark.parametrize("where", ["handler", "participant"])
async def test_a_nested_manager_that_closes_the_outer_one(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """A handler or participant of a manager that lives in another's handler can close both."""
    log: list[str] = []

    async def close(place: str) -> None:
        if place == where:
            try:
                await outer.aclose()  # cancels the outer handler, which then cancels the inner one
            finally:
                log.append("outer closed")
                await inner[0].aclose()
                log.append("inner closed")

    @asynccontextmanager
    async def participant(_: Connection) -> AsyncIterator[None]:
        await close("participant")
        yield

    async def inner_handler(session: ConversationSession) -> None:
        await close("handler")
        await session.ended.wait()

    async def outer_handler(_: ConversationSession) -> None:
        async with SessionManager(world.client, participant=participant) as manager:
            inner.append(manager)
            async with manager.run([REQUEST], inner_handler):
                await asyncio.Event().wait()

    inner: list[SessionManager] = []
    async with crowded() as world, SessionManager(world.client) as outer, outer.run([REQUEST], outer_handler):
        await until(lambda: len(log) == 2)
    assert log == ["outer closed", "inner closed"]
    assert in_time(caplog)


@pytest.mark.parametrize("where", ["in the program", "in the handler"])
async def test_a_handler_that_closes_another_manager(where: str) -> None:
    """A handler that closes another manager, its own or the program's, waits for all that runs there."""
    log: list[str] = []

    async def work(session: ConversationSession) -> None:
        await session.room_joined.wait()
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            await loop_rounds(5)
            log.append("handled")

    async def handler(_: ConversationSession) -> None:
        manager = other
        if where == "in the handler":
            manager = SessionManager(world.client, participant=slow_to_leave(log))
            await manager.open()
        async with manager.run([REQUEST], work):
            await working.wait()
            await manager.aclose()
            log.append("closed")

    working = asyncio.Event()
    async with (
        crowded() as world,
        SessionManager(world.client, participant=slow_to_leave(log)) as other,
        SessionManager(world.client) as manager,
        manager.run([REQUEST], handler) as run,
    ):
        assert (await soon(anext(run))).error is None
    assert log == ["handled", "left", "closed"]


async def test_a_place_is_not_free_while_the_participant_that_ended_the_session_is_inside() -> None:
    """A participant that ends its own session keeps its place until it has left the room."""
    guests: list[asyncio.Event] = []

    @asynccontextmanager
    async def participant(connection: Connection) -> AsyncIterator[None]:
        yield
        session = ended[connection.conversation_session_id]
        async with asyncio.TaskGroup() as group:
            group.create_task(session.end())
        guests.append(asyncio.Event())
        await guests[-1].wait()

    ended: dict[str, ConversationSession] = {}
    async with crowded() as world, SessionManager(world.client, max_sessions=1, participant=participant) as manager:
        session = await manager.start(REQUEST)
        ended[session.id] = session
        await session.room_joined.wait()
        ending = asyncio.create_task(session.end())
        waiting = starting(manager)
        await until(lambda: guests)
        await loop_rounds()
        assert not waiting.done()
        guests[0].set()
        await soon(ending)
        second = await soon(waiting)
        ended[second.id] = second
        await second.room_joined.wait()
        ending = asyncio.create_task(second.end())
        await until(lambda: len(guests) == 2)
        guests[1].set()
        await soon(ending)


async def test_drained_in_a_block() -> None:
    """A handler that drains its manager inside a block of another session does not wait for that session either."""

    async def handler(_: ConversationSession) -> bool:
        async with manager.session(REQUEST):
            return await manager.drain()

    async with crowded() as world, SessionManager(world.client) as manager, manager.run([REQUEST], handler) as run:
        assert (await soon(anext(run))).value is True


async def test_entered_twice() -> None:
    """A manager that is entered while it is entered says so and stays open. Afterwards it can be entered again."""
    async with crowded() as world:
        manager = SessionManager(world.client)
        for _ in range(2):
            async with manager:
                with pytest.raises(ClosedError, match="entered already"):
                    await manager.__aenter__()
                await manager.start(REQUEST)
        await manager.open()
        async with manager:
            await manager.open()


async def test_a_bug_while_attaching(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attach that fails with a bug leaves nothing in the manager."""
    async with crowded() as world, SessionManager(world.client) as manager:
        monkeypatch.setattr(ConversationSession, "_begin", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await manager.attach(SESSION)
        assert manager.sessions == ()
        assert await manager.drain(timeout=PATIENCE) is True


# Starting


@LOOPS
async def test_start_waits_its_turn() -> None:
    """As many sessions run as allowed; further starts wait, first come, first served."""
    async with crowded() as world, SessionManager(world.client, max_sessions=2) as manager:
        order: list[int] = []

        async def start(number: int) -> ConversationSession:
            session = await manager.start(REQUEST)
            order.append(number)
            return session

        tasks = [asyncio.create_task(start(number)) for number in range(6)]
        for done in range(2, 7):
            await until(lambda done=done: len(order) == done)  # type: ignore[misc]
            assert manager.statistics().waiting == 6 - done
            assert world.connects == done
            assert len(manager.sessions) == 2
            await (await tasks[done - 2]).end()
        assert sorted(order[:2]) + order[2:] == list(range(6))  # the first two connect at once


async def test_a_place_is_free_when_the_participant_has_left() -> None:
    """The place of an ended session is free once its participant has left the room."""
    participant = Participant()
    async with crowded() as world, SessionManager(world.client, max_sessions=1, participant=participant) as manager:
        first = await manager.start(REQUEST)
        await until(lambda: participant.inside)
        second = starting(manager)
        ending = asyncio.create_task(first.end())
        await first.ended.wait()
        assert manager.sessions == ()
        await loop_rounds()
        assert (world.connects, manager.statistics().waiting) == (1, 1)
        participant.leaves.set()
        await soon(second)
        await ending


async def test_start_times_out_while_waiting() -> None:
    """A start that waits longer than its timeout is withdrawn; the error says how many run and wait."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        session = await manager.start(REQUEST)
        behind = starting(manager)
        with pytest.raises(StartTimeoutError) as caught:
            await manager.start(REQUEST, timeout=0.05)
        error = caught.value
        assert (error.timeout, error.connecting, error.running, error.waiting) == (0.05, False, 1, 1)
        assert isinstance(error, TimeoutError)
        assert manager.statistics().waiting == 1
        await session.end()
        await behind
        assert world.connects == 2


async def test_start_times_out_while_connecting() -> None:
    """A start whose connect takes longer than its timeout leaves the session to the manager; the error says so."""
    async with crowded() as world, SessionManager(world.client) as manager:
        world.crowd.gate.clear()
        with far_timer() as strike:
            start = starting(manager, timeout=NEVER)
            await world.connecting()
        strike()
        with pytest.raises(StartTimeoutError, match="in the manager") as caught:
            await soon(start)
        assert (caught.value.connecting, caught.value.goes_on) == (True, True)
        assert (manager.sessions, manager.statistics().live[CONNECTING]) == ((), 1)
        world.crowd.gate.set()
        await until(lambda: manager.sessions)
        [session] = manager.sessions
        assert manager.get(world.crowd.ids[0]) is session
        assert not session.ended.is_set()


@LOOPS
async def test_cancelled_while_waiting() -> None:
    """A cancelled start that waits gives up its place; the others keep their order."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        running = await manager.start(REQUEST)
        cancelled, second, third = (starting(manager) for _ in range(3))
        await until(lambda: manager.statistics().waiting == 3)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await running.end()
        running = await soon(second)
        assert not third.done()
        await running.end()
        await soon(third)
        assert world.connects == 3


@LOOPS
async def test_cancelled_while_connecting() -> None:
    """The session of a cancelled start that connects stays in the manager, in `sessions` and in the events."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        events = manager.events()
        world.crowd.gate.clear()
        task = starting(manager)
        await world.connecting()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (manager.sessions, manager.statistics().live[CONNECTING]) == ((), 1)
        world.crowd.ready = True
        world.crowd.gate.set()
        async with asyncio.timeout(PATIENCE):
            states = [event.state async for event in _until_ready(events)]
        assert states == [CONNECTING, ROOM_JOINED, BOT_READY]
        [session] = manager.sessions
        assert manager.get(world.crowd.ids[0]) is session
        waiting = starting(manager)
        await session.end()
        await soon(waiting)


async def _until_ready(events: AsyncIterator[ManagerEvent]) -> AsyncIterator[StateChanged]:
    async for event in events:
        if isinstance(event, StateChanged):
            yield event
            if event.state is BOT_READY:
                return


async def test_cancelled_at_once() -> None:
    """A start that is cancelled in its first steps leaves nothing."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        running = await manager.start(REQUEST)
        for rounds in range(5):
            task = starting(manager)
            await loop_rounds(rounds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not manager.statistics().waiting and len(manager._registry.entries) == 1)
        await running.end()
        await soon(manager.start(REQUEST))
        assert world.connects == 2


@LOOPS
async def test_a_handler_that_times_out() -> None:
    """A web handler that limits its start with `asyncio.timeout` loses the answer, not the conversation."""
    async with crowded() as world, SessionManager(world.client) as manager:
        world.crowd.gate.clear()
        limit = asyncio.timeout(None)

        async def handler() -> str:
            try:
                async with limit:
                    return (await manager.start(REQUEST)).join_url
            except TimeoutError:
                return "503"

        handling = asyncio.create_task(handler())
        await world.connecting()
        limit.reschedule(asyncio.get_running_loop().time())
        assert await soon(handling) == "503"
        world.crowd.gate.set()
        await until(lambda: world.crowd.ids and manager.get(world.crowd.ids[0]))
        assert len(manager.sessions) == 1


@LOOPS
async def test_no_scope_reaches_the_caller() -> None:
    """A session outlives the anyio scope it was started in, and the caller's scopes and groups still work."""
    async with crowded() as world, SessionManager(world.client) as manager:
        with anyio.CancelScope() as scope:
            session = await manager.start(REQUEST)
            scope.cancel()
            await anyio.sleep(10)
        assert scope.cancelled_caught
        async with asyncio.TaskGroup() as group:
            other = await group.create_task(manager.start(REQUEST))
        with anyio.move_on_after(0.05) as moved:
            world.crowd.gate.clear()
            await manager.start(REQUEST)
        assert moved.cancelled_caught
        assert not session.ended.is_set()
        assert not other.ended.is_set()
        world.crowd.gate.set()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await anyio.lowlevel.checkpoint()


def sessions_of(manager: SessionManager) -> list[ConversationSession]:
    """Return all sessions of a manager, including those that connect."""
    return [entry.session for entry in manager._registry.entries if entry.session is not None]


async def test_ended_while_connecting() -> None:
    """A session that is ended while it connects frees its place once the connect is answered."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        world.crowd.gate.clear()
        task = starting(manager)
        await world.connecting()
        await sessions_of(manager)[0].end()
        world.crowd.gate.set()
        with pytest.raises(SessionEndedError) as caught:
            await soon(task)
        assert caught.value.reason is EndReason.LEFT
        assert manager.sessions == ()
        await soon(manager.start(REQUEST))


async def test_a_refused_connect() -> None:
    """A refused connect raises to its caller, is counted and published, and affects no other session."""
    async with managed() as (sim, manager):
        events = manager.events()
        session = await manager.start(REQUEST)
        sim.add_fault(Fault(route="connect", status=401))
        with pytest.raises(AuthenticationError):
            await manager.start(REQUEST)
        assert manager.sessions == (session,)
        assert manager.statistics().ended[EndReason.CONNECT_FAILED] == 1
        await manager.aclose()
        ends = [event async for event in events if isinstance(event, StateChanged) and event.state is ENDED]
        assert [event.end_reason for event in ends] == [EndReason.CONNECT_FAILED, EndReason.LEFT]
        assert isinstance(ends[0].cause, AuthenticationError)


# A session for a block


@LOOPS
async def test_session_for_a_block() -> None:
    """A block's session is in the manager, ends with the block, and then its place is free."""
    async with managed({"auto_join": False}, max_sessions=1) as (sim, manager):
        manager._registry.settings = attrs.evolve(manager._registry.settings, participant=sim.participant)
        for _ in range(3):
            async with manager.session(REQUEST) as session:
                await get_ready(sim, session)
                assert manager.sessions == (session,)
            assert session.end_reason is EndReason.LEFT
            assert sim.open_conversations == 0
            assert manager.sessions == ()
        with pytest.raises(LookupError):
            async with manager.session(REQUEST) as session:
                raise LookupError
        assert session.end_reason is EndReason.LEFT
        async with asyncio.timeout(PATIENCE), manager.session(REQUEST):
            pass


@LOOPS
async def test_cancelled_block() -> None:
    """The session of a cancelled block ends as `CANCELLED`, and its slot is free before the cancellation is raised."""
    async with managed({"auto_join": False}) as (sim, manager):
        manager._registry.settings = attrs.evolve(manager._registry.settings, participant=sim.participant)
        sessions: list[ConversationSession] = []

        async def block() -> None:
            async with manager.session(REQUEST) as session:
                sessions.append(session)
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await until(lambda: sessions and sessions[0].room_joined.is_set())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sessions[0].end_reason is EndReason.CANCELLED
        assert sim.open_conversations == 0


async def test_block_cancelled_while_waiting() -> None:
    """A block that is cancelled while it waits sends nothing and gives up its place."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        running = await manager.start(REQUEST)
        block = asyncio.create_task(manager.session(REQUEST).__aenter__())
        await until(lambda: manager.statistics().waiting)
        block.cancel()
        with pytest.raises(asyncio.CancelledError):
            await block
        assert manager.statistics().waiting == 0
        with pytest.raises(StartTimeoutError, match="It waited for its turn"):
            async with manager.session(REQUEST, timeout=0.05):
                pytest.fail("there is no place")
        assert world.connects == 1
        await running.end()
        async with asyncio.timeout(PATIENCE), manager.session(REQUEST):
            pass


@LOOPS
async def test_block_cancelled_while_connecting(caplog: pytest.LogCaptureFixture) -> None:
    """A block that is cancelled while it connects waits for the answer and ends the conversation's session."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        events = manager.events()
        world.crowd.gate.clear()
        block = asyncio.create_task(manager.session(REQUEST).__aenter__())
        await world.connecting()
        [session] = sessions_of(manager)
        block.cancel()
        await asyncio.sleep(0)
        assert not block.done()
        world.crowd.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await block
        assert session.end_reason is EndReason.CANCELLED
        assert session.id == world.crowd.ids[0]
        assert session.id in caplog.text
        assert manager.sessions == ()
        async with asyncio.timeout(PATIENCE), manager.session(REQUEST):
            pass
        await manager.aclose()
        ends = [event async for event in events if isinstance(event, StateChanged) and event.state is ENDED]
        assert [(event.session_id, event.end_reason) for event in ends] == [
            (world.crowd.ids[0], EndReason.CANCELLED),
            (world.crowd.ids[1], EndReason.LEFT),
        ]


async def test_block_whose_connect_times_out() -> None:
    """A block that times out while it connects ends the session before it raises, and names the conversation."""
    async with crowded() as world, SessionManager(world.client) as manager:
        world.crowd.gate.clear()
        with far_timer() as strike:
            block = asyncio.create_task(manager.session(REQUEST, timeout=NEVER).__aenter__())
            await world.connecting()
        strike()
        await until(lambda: [entry.abandoned for entry in manager._registry.entries] == [True])
        assert not block.done()
        world.crowd.gate.set()
        with pytest.raises(StartTimeoutError, match="the session was ended") as caught:
            await soon(block)
        assert (caught.value.connecting, caught.value.goes_on) == (True, False)
        [note] = caught.value.__notes__
        assert note == f"conversation {world.crowd.ids[0]} was connected meanwhile; it holds a slot until it ends"
        assert manager.sessions == ()
        assert manager.statistics().ended[EndReason.CANCELLED] == 1


async def test_session_that_ends_before_its_block() -> None:
    """When the conversation ends by itself, the block continues, and leaving it waits for the participant."""
    participant = Participant()
    async with crowded() as world, SessionManager(world.client, participant=participant) as manager:
        async with manager.session(REQUEST) as session:
            await until(lambda: participant.inside)
            ending = asyncio.create_task(session.end())
            await soon(session.ended.wait())
            assert manager.sessions == ()
            asyncio.get_running_loop().call_soon(participant.leaves.set)
        assert participant.inside == 0
        await ending
        async with manager.session(REQUEST) as session:
            await until(lambda: participant.inside or participant.leaves.is_set())
            await session.end()
            await until(lambda: not session_tasks())
        assert session.end_reason is EndReason.LEFT
        assert manager.statistics().ended[EndReason.LEFT] == 2


# A full account


async def test_full_raises() -> None:
    """With `when_full="raise"`, a full account raises at once."""
    async with managed({"max_concurrent": 1}) as (sim, manager):
        await manager.start(REQUEST)
        with pytest.raises(ConcurrencyLimitError):
            await manager.start(REQUEST)
        assert sim.count("connect") == 2
        assert manager.statistics().ended[EndReason.CONNECT_FAILED] == 1


@LOOPS
async def test_fifty_conversations_through_five_slots() -> None:
    """Fifty starts get through an account of five slots in order, each refused once at most and none in the events."""
    async with managed(
        {"max_concurrent": 5, "auto_join": False, "ready_time": 1.0}, when_full="wait", full=LONG_FULL
    ) as (sim, manager):
        manager._registry.settings = attrs.evolve(manager._registry.settings, participant=sim.participant)
        events, order = manager.events(), list[int]()

        async def converse(number: int) -> None:
            async with manager.session(REQUEST) as session:
                order.append(number)
                await session.room_joined.wait()
                sim.advance(2)
                await session.bot_ready.wait()

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(converse(number))
        figures = manager.statistics()
        assert sim.statistics().connected == 50
        assert sim.statistics().peak == 5
        assert sim.count("connect") < 100
        assert (figures.started, figures.ready, figures.ended[EndReason.LEFT], figures.waiting) == (50, 50, 50, 0)
        assert sum(figures.ended.values()) == 50
        # Connects that are under way together may be answered in another order.
        assert all(abs(place - number) < 10 for place, number in enumerate(order))
        await manager.aclose()
        ends = [event async for event in events if isinstance(event, StateChanged) and event.state is ENDED]
        assert len(ends) == 50


async def test_a_full_account_is_not_seen_in_the_events() -> None:
    """A start enters `connecting` once, however often the account was full.

    Its durations count from the connect that was answered, not from those that were refused.
    """
    async with crowded() as world:
        async with SessionManager(world.client, when_full="wait", full=QUICK_FULL) as manager:
            events = manager.events()
            first = await manager.start(REQUEST)
            world.crowd.refusals = [FULL] * 5
            waiting = starting(manager)
            await world.connecting(7)
            world.crowd.ready = True
            second = await soon(waiting)
            await second.bot_ready.wait()
            await manager.aclose()
            seen = [event async for event in events if isinstance(event, StateChanged)]
        begun = [event for event in seen if event.state is CONNECTING]
        assert (len(begun), world.connects) == (2, 7)
        began = second.entered_at(CONNECTING)
        assert began == begun[1].at
        assert second.snapshot().began_at > began, "it was refused five times before"
        [ready] = [event for event in seen if event.state is BOT_READY and event.session_id == second.id]
        assert second.time_to_ready == ready.elapsed
        assert second.time_to_connection is not None
        assert second.time_to_connection <= second.time_to_ready
        assert [event.state for event in seen if event.session_id == first.id][-1] is ENDED


async def test_cancelled_while_waiting_for_a_slot() -> None:
    """A start that is cancelled while it waits for a slot sends no connect when a slot is freed."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=LONG_FULL) as manager:
        running = await manager.start(REQUEST)
        world.crowd.refusals = [FULL]
        task = starting(manager)
        await until(lambda: manager.statistics().waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await running.end()
        await until(lambda: not session_tasks())
        assert (world.connects, manager.statistics().waiting) == (2, 0)


async def test_closing_waits_for_participants() -> None:
    """aclose() returns only when all participants have left their rooms."""
    participant = Participant()
    async with crowded() as world:
        manager = SessionManager(world.client, participant=participant)
        await manager.open()
        for _ in range(3):
            await manager.start(REQUEST)
        await until(lambda: participant.inside == 3)
        closing = asyncio.create_task(manager.aclose())
        await until(lambda: manager.statistics().ended[EndReason.LEFT] == 3)
        assert (closing.done(), participant.inside) == (False, 3)
        participant.leaves.set()
        await soon(closing)
        assert (participant.inside, participant.cancels) == (0, 0)


class Recording(Observer):
    """Records the events of sessions and of the gate."""

    def __init__(self) -> None:
        self.events: list[SessionEvent] = []
        self.steps: list[GateEvent] = []

    def session_event(self, event: SessionEvent) -> None:
        self.events.append(event)

    def gate(self, event: GateEvent) -> None:
        self.steps.append(event)


async def test_observers_of_sessions_and_starts() -> None:
    """Observers get each session event once, and each start's waits, refusals and admissions."""
    observer = Recording()
    async with crowded(observers=[observer]) as world:
        async with SessionManager(world.client, max_sessions=1, when_full="wait", full=QUICK_FULL) as manager:
            world.crowd.refusals = [FULL]
            events = manager.events()
            running = await manager.start(REQUEST)
            waiting = starting(manager)
            await until(lambda: manager.statistics().waiting == 1)
            await running.end()
            await soon(waiting)
        steps = [event.step for event in observer.steps]
        assert steps == ["admitted", "refused", "waiting", "admitted", "waiting", "admitted"]
        assert all(event.waited == 0 for event in observer.steps if event.step != "admitted")
        assert observer.events == [event async for event in events]


async def test_a_slot_freed_here() -> None:
    """When a session of this manager frees a slot, the next start is tried without a pause."""
    async with managed({"max_concurrent": 1, "auto_join": False}, when_full="wait", full=LONG_FULL) as (sim, manager):
        manager._registry.settings = attrs.evolve(manager._registry.settings, participant=sim.participant)
        running = await manager.start(REQUEST)
        waiting = [starting(manager) for _ in range(5)]
        await sim.wait_for_request("connect", count=6)
        await until(lambda: manager.statistics().waiting == 5)  # all were refused
        for task in waiting:
            await running.end()
            running = await soon(task)
        assert sim.count("connect") == 11


async def test_a_slot_freed_before_a_refusal_arrives() -> None:
    """A refusal that was under way when a session of this manager ended is tried again without a pause."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=LONG_FULL) as manager:
        running = await manager.start(REQUEST)
        world.crowd.gate.clear()
        world.crowd.refusals = [FULL, FULL]
        waiting = [starting(manager) for _ in range(2)]
        await world.connecting(3)
        await running.end()
        world.crowd.gate.set()
        for task in waiting:
            await soon(task)


async def test_a_slot_freed_by_an_attached_conversation() -> None:
    """The end of an attached conversation frees a slot, so the next start is tried without a pause."""
    async with simulated(max_concurrent=1, auto_join=False) as (sim, client):
        connection = await client.conversations.connect(REQUEST)
        async with SessionManager(client, when_full="wait", full=LONG_FULL) as manager:
            await manager.attach(connection.conversation_session_id)
            task = starting(manager)
            await sim.wait_for_request("connect", count=2)
            await until(lambda: manager.statistics().waiting)
            sim.end(connection.conversation_session_id)
            await soon(task)


async def test_leaving_an_attached_conversation_frees_no_slot() -> None:
    """Leaving an attached conversation does not end it, so it frees no slot."""
    async with simulated(max_concurrent=1, auto_join=False) as (sim, client):
        connection = await client.conversations.connect(REQUEST)
        async with SessionManager(client, when_full="wait", full=LONG_FULL) as manager:
            attached = await manager.attach(connection.conversation_session_id)
            task = starting(manager)
            await until(lambda: manager.statistics().waiting == 1 and sim.count("connect") == 2)
            await attached.end()
            await until(lambda: not manager._registry.closers)
            await loop_rounds()
            assert manager.statistics().waiting == 1
            task.cancel()
            await asyncio.wait([task])
        assert sim.count("connect") == 2


async def test_ended_while_its_connect_is_refused() -> None:
    """A session that its user ended while it connected is not started again if the account turns out to be full."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=QUICK_FULL) as manager:
        world.crowd.gate.clear()
        world.crowd.refusals = [FULL]
        task = starting(manager)
        await world.connecting()
        await sessions_of(manager)[0].end()
        world.crowd.gate.set()
        with pytest.raises(ConcurrencyLimitError):
            await soon(task)
        figures = manager.statistics()
        assert (figures.started, figures.ended[EndReason.LEFT], sum(figures.ended.values())) == (1, 1, 1)
        assert world.connects == 1


async def test_a_slot_freed_elsewhere() -> None:
    """A slot freed by another program is found by probing, one start at a time."""
    async with simulated(max_concurrent=2, auto_join=False) as (sim, client):
        others = [await client.conversations.connect(REQUEST) for _ in range(2)]
        async with SessionManager(client, when_full="wait", full=QUICK_FULL) as manager:
            waiting = [starting(manager) for _ in range(4)]
            await sim.wait_for_request("connect", count=8)
            for other in others:
                sim.end(other.conversation_session_id)
            await soon(waiting[0])
            await soon(waiting[1])
            assert [task.done() for task in waiting] == [True, True, False, False]
            for task in waiting[2:]:
                task.cancel()
            await asyncio.wait(waiting)


@pytest.mark.parametrize("how", ["cancelled", "drained", "timed out"])
async def test_given_up_while_it_waits_for_a_slot(how: str) -> None:
    """A start that is given up on a full account sends no second connect, and its session ends once."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=LONG_FULL) as manager:
        events = manager.events()
        world.crowd.refusals = [FULL]
        entry = manager._registry.start(REQUEST)
        await until(lambda: world.connects == 1 and manager.statistics().waiting == 1)
        timeout = 0.01 if how == "timed out" else None
        task = asyncio.create_task(manager._registry.wait(entry, timeout, keep=True))
        await asyncio.sleep(0)
        if how == "cancelled":
            task.cancel()
        elif how == "drained":
            await manager.drain()
        ends: dict[str, tuple[type[BaseException], EndReason, type]] = {
            "cancelled": (asyncio.CancelledError, EndReason.CANCELLED, NoneType),
            "drained": (ManagerClosedError, EndReason.CONNECT_FAILED, ManagerClosedError),
            "timed out": (StartTimeoutError, EndReason.CANCELLED, NoneType),
        }
        error, reason, cause = ends[how]
        with pytest.raises(error):
            await soon(task)
        await until(lambda: manager.statistics().ended[reason] == 1)
        assert (manager.statistics().started, manager.statistics().waiting, world.connects) == (1, 0, 1)
        await manager.aclose()
        changes = [event async for event in events if isinstance(event, StateChanged)]
        assert [event.state for event in changes] == [CONNECTING, ENDED]
        assert isinstance(changes[-1].cause, cause)


async def test_refused_and_given_up() -> None:
    """A start whose caller stopped waiting is not tried again when its connect is refused."""
    async with crowded() as world, SessionManager(world.client, when_full="wait", full=QUICK_FULL) as manager:
        for number, timeout in enumerate((None, 0.05), 1):
            world.crowd.gate.clear()
            world.crowd.refusals = [FULL]
            task = starting(manager, timeout=timeout)
            await world.connecting(number)
            _ = task.cancel() if timeout is None else None
            with pytest.raises(asyncio.CancelledError if timeout is None else StartTimeoutError):
                await task
            world.crowd.gate.set()
            assert await manager.drain(timeout=PATIENCE)
            await manager.open()
            assert manager.statistics().ended[EndReason.CONNECT_FAILED] == number
        assert (world.connects, manager.statistics().waiting) == (2, 0)


async def test_a_poll_refused_like_a_connect() -> None:
    """A poll refused with the code of a full account ends its session and frees its place; no start waits for it."""
    async with (
        steered() as world,
        SessionManager(world.client, max_sessions=1, when_full="wait", full=QUICK_FULL) as manager,
    ):
        events = manager.events()
        session = await manager.start(REQUEST)
        next_one = starting(manager)
        world.service.update = answer({"error": "no", "error_code": "CONCURRENCY_NOT_IN_PLAN"}, 403)
        await soon(session.ended.wait())
        assert isinstance(session.cause, ConcurrencyLimitError)
        world.service.says()
        following = await soon(next_one)
        assert manager.sessions == (following,)
        assert manager.statistics().ended[EndReason.FAILED] == 1
        await following.end()
        assert await manager.drain(timeout=PATIENCE) is True
        await manager.aclose()
        ends = [event async for event in events if isinstance(event, StateChanged) and event.state is ENDED]
        assert [event.end_reason for event in ends] == [EndReason.FAILED, EndReason.LEFT]


async def test_minutes_used_up() -> None:
    """When the minutes are used up, all waiting starts raise at once, and later ones ask the service again."""
    async with crowded() as world, SessionManager(world.client, max_sessions=3, when_full="wait") as manager:
        running = [await manager.start(REQUEST) for _ in range(3)]
        world.crowd.refusals = [NO_MINUTES] * 2
        waiting = [starting(manager) for _ in range(10)]
        await until(lambda: manager.statistics().waiting == 10)
        await running.pop().end()
        errors = await soon(asyncio.gather(*waiting, return_exceptions=True))
        assert [type(error) for error in errors] == [MinutesLimitError] * 10
        assert len({id(error) for error in errors}) == 10
        assert world.connects == 4
        with pytest.raises(MinutesLimitError):
            await manager.start(REQUEST)
        assert world.connects == 5
        assert manager.sessions
        assert not any(session.ended.is_set() for session in running)
        await manager.start(REQUEST)


# Rate limits


def limiter_of(manager: SessionManager) -> RateLimiter:
    """Return the rate limiter of a manager's polls."""
    turn: Any = manager._registry.settings.turn
    return turn.__self__  # type: ignore[no-any-return]


async def test_ended_sessions_give_up_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn of a session that ended while it waited to poll goes to the next."""
    clock = Clock(monkeypatch, RateLimiter)
    async with crowded() as world, SessionManager(world.client, max_polls_per_second=20.0) as manager:
        sessions = [await manager.start(REQUEST) for _ in range(20)]
        await until(lambda: len(limiter_of(manager)._waiting) == 20)
        for session in sessions:
            await session.end()
        world.crowd.ready = True
        session = await manager.start(REQUEST)
        await until(lambda: len(limiter_of(manager)._waiting) == 1)
        clock.now += 1 / 20
        await soon(session.bot_ready.wait())


async def test_connects_are_paced() -> None:
    """A burst of starts reaches the service no faster than `max_connects_per_second`."""
    async with crowded() as world, SessionManager(world.client, max_connects_per_second=50) as manager:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await soon(asyncio.gather(*(manager.start(REQUEST) for _ in range(11))))
        # The first six are sent at once: one, and a tenth of a second's worth.
        assert loop.time() - began >= 0.09


async def test_polls_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sessions together poll no faster than `max_polls_per_second`, each as often as the others."""
    clock = Clock(monkeypatch, RateLimiter)
    async with crowded() as world, SessionManager(world.client, max_polls_per_second=100) as manager:
        sessions = await asyncio.gather(*(manager.start(REQUEST) for _ in range(20)))

        async def polled(count: int) -> None:
            """Wait until no session may poll any more, and check how many polls there were."""
            await until(lambda: sum(session.polls for session in sessions) >= count)
            await until(lambda: len(limiter_of(manager)._waiting) == 20)
            assert sum(session.polls for session in sessions) == count

        await polled(11)  # one, and a tenth of a second's worth
        for seconds in range(1, 6):
            clock.now += 0.1001
            await polled(11 + 10 * seconds)
        counts = [session.polls for session in sessions]
        assert max(counts) - min(counts) <= 1


# Statistics and looking up


async def test_statistics() -> None:
    """The statistics count what happened, no more and no less."""
    async with simulated(auto_join=False, max_concurrent=3) as (sim, client):
        manager = SessionManager(client, max_sessions=3)
        await manager.open()
        one, two, three = [await manager.start(REQUEST) for _ in range(3)]
        waiting = starting(manager)
        await until(lambda: manager.statistics().waiting)
        figures = manager.statistics()
        assert (figures.live[CONNECTING], figures.started, figures.ready) == (3, 3, 0)
        sim.join(one.id)
        sim.join(two.id)
        sim.advance(30)
        await soon(asyncio.gather(one.bot_ready.wait(), two.bot_ready.wait()))
        three.mark_room_joined()
        assert manager.statistics().live == {CONNECTING: 0, ROOM_JOINED: 1, BOT_READY: 2}
        sim.end(one.id)
        four = await soon(waiting)
        sim.end(three.id)
        await until(lambda: len(manager.sessions) == 2)
        sim.add_fault(Fault(route="connect", status=401))
        with pytest.raises(AuthenticationError):
            await manager.start(REQUEST)
        attached = await manager.attach(await _connected(client))
        sim.add_fault(Fault(route="updates", conversation_id=attached.id, status=401))
        await soon(attached.ended.wait())
        await manager.aclose()
        figures = manager.statistics()
        sessions = (one, two, three, four, attached)
        assert figures.live == {CONNECTING: 0, ROOM_JOINED: 0, BOT_READY: 0}
        assert (figures.waiting, figures.started, figures.ready) == (0, 6, 2)
        assert figures.ended == {
            **dict.fromkeys(EndReason, 0),
            EndReason.COMPLETED: 1,
            EndReason.LEFT: 2,
            EndReason.CONNECT_FAILED: 1,
            EndReason.FAILED: 2,
        }
        assert figures.polls == sum(session.polls for session in sessions) <= sim.count("updates")
        assert figures.poll_failures == sum(session.poll_failures for session in sessions) == 1
        slowest = max(one.time_to_ready or 0, two.time_to_ready or 0)
        assert figures.time_to_ready["p99"] == pytest.approx(slowest, rel=0.01)


async def _connected(client: AkapuluClient) -> str:
    return (await client.conversations.connect(REQUEST)).conversation_session_id


async def test_sessions_by_id() -> None:
    """A running session is found by its id in any form; an ended one is not."""
    async with crowded() as world, SessionManager(world.client) as manager:
        one, two = [await manager.start(REQUEST) for _ in range(2)]
        assert set(manager.sessions) == {one, two}
        assert manager.get(one.id) is manager.get(UUID(one.id)) is manager.get(one.id.upper()) is one
        assert manager.get(uuid4()) is None
        await one.end()
        assert manager.get(one.id) is None
        assert manager.sessions == (two,)


async def test_ended_sessions_are_not_kept() -> None:
    """The manager keeps nothing of an ended session, nor of one that never connected."""
    async with managed() as (sim, manager):
        session = await manager.start(REQUEST)
        references = [weakref.ref(session), *map(weakref.ref, manager._registry.entries)]
        [entry] = manager._registry.entries
        await session.end()
        await until(lambda: not session_tasks())
        assert (entry.session, entry.task) == (None, None), "a reference cycle"
        del session, entry
        sim.add_fault(Fault(route="connect", status=401))
        with pytest.raises(AuthenticationError):
            await manager.start(REQUEST)
        gc.collect()
        assert [reference() for reference in references] == [None, None]
        assert not manager._registry.entries
        assert not manager._registry.live
        assert not manager._registry.closers


async def test_a_failed_start_is_freed_at_once() -> None:
    """A session that was ended while it connected is freed with its start's error, without the garbage collector."""
    async with crowded() as world, SessionManager(world.client) as manager:
        references: list[weakref.ref[ConversationSession]] = []

        async def end_it() -> None:
            await world.connecting()
            [session] = sessions_of(manager)
            references.append(weakref.ref(session))
            await session.end()
            world.crowd.gate.set()

        async def start_in_vain() -> None:
            # No name here may refer to the start's task: it would keep the error, and the error's frames the session.
            with suppress(SessionEndedError):
                await manager.start(REQUEST)

        world.crowd.gate.clear()
        ending = asyncio.create_task(end_it())
        gc.collect()
        gc.disable()
        try:
            await start_in_vain()
            await ending
            await until(lambda: not session_tasks())
            assert [reference() for reference in references] == [None]
        finally:
            gc.enable()


async def test_one_id_twice() -> None:
    """Two conversations with the same id both end and free their places."""
    async with steered() as world, SessionManager(world.client, max_sessions=2) as manager:
        one, two = [await manager.start(REQUEST) for _ in range(2)]
        assert one.id == two.id
        await one.end()
        assert manager.get(SESSION) is two
        await two.end()
        assert manager.get(SESSION) is None
        await soon(asyncio.gather(*(manager.start(REQUEST) for _ in range(2))))


# Events


async def live_through(sim: Simulator, manager: SessionManager) -> list[ConversationSession]:
    """Start five sessions whose calls take 10 s, and wait until they have ended."""
    sessions = [await manager.start(REQUEST) for _ in range(5)]
    await get_ready(sim, *sessions)
    sim.advance(10)
    await soon(asyncio.gather(*(session.ended.wait() for session in sessions)))
    return sessions


@LOOPS
async def test_events_of_all_sessions() -> None:
    """Each listener gets the events of all sessions, each session's states in order, until the manager closes."""
    async with managed({"call_seconds": 10}) as (sim, manager):
        listeners = [manager.events() for _ in range(2)]
        sessions = await live_through(sim, manager)
        late = manager.events()
        await manager.aclose()
        events, others = [[event async for event in listener] for listener in listeners]
        assert events == others
        assert [event async for event in late] == []
        for session in sessions:
            assert [
                event.state
                for event in events
                if isinstance(event, StateChanged) and event.session_id in {session.id, None}
                if event.session_id or event.state is not CONNECTING
            ] == [ROOM_JOINED, BOT_READY, ENDED]
        begun = [event for event in events if isinstance(event, StateChanged) and event.state is CONNECTING]
        assert len(begun) == 5
        assert [event async for event in manager.events()] == []


async def test_a_slow_listener() -> None:
    """A listener that does not read learns exactly how many events it missed; nobody waits for it."""
    async with managed({"call_seconds": 10}) as (sim, manager):
        slow, quick = manager.events(buffer=4), manager.events()
        await live_through(sim, manager)
        await manager.aclose()
        everything = [event async for event in quick]
        assert [event async for event in slow] == [EventsMissed(len(everything) - 4), *everything[-4:]]


async def test_a_dropped_listener() -> None:
    """Leaving the loop over events() ends the subscription, without the garbage collector."""
    async with crowded() as world, SessionManager(world.client) as manager:
        await manager.start(REQUEST)
        world.crowd.ready = True
        gc.disable()
        try:
            async for event in manager.events():
                assert isinstance(event, ManagerEvent)
                assert len(manager._registry.listeners) == 1
                break
            assert len(manager._registry.listeners) == 0
        finally:
            gc.enable()


async def test_listening_again() -> None:
    """After another opening, a new listener gets events again; one from before the close has ended."""
    async with crowded() as world:
        manager = SessionManager(world.client)
        async with manager:
            before = manager.events()
        async with manager:
            after = manager.events()
            await manager.start(REQUEST)
            assert isinstance(await soon(after.__anext__()), StateChanged)
            assert [event async for event in before] == []


# Attaching


@LOOPS
async def test_attaching_twice() -> None:
    """All attaches to one conversation, in any form, return one session, which polls once."""
    async with crowded() as world, SessionManager(world.client) as manager:
        session_id = await _connected(world.client)
        events = manager.events()
        one = await manager.attach(session_id)
        event = await anext(events)
        assert isinstance(event, StateChanged)
        assert (event.state, event.session_id) == (CONNECTING, session_id)
        same: list[Any] = [session_id, session_id.upper(), UUID(session_id), one.snapshot(), one.snapshot().to_json()]
        assert all(session is one for session in await asyncio.gather(*map(manager.attach, same)))
        started = await manager.start(REQUEST)
        assert await manager.attach(started.id) is started
        assert await manager.attach(started.snapshot().to_json()) is started
        assert manager.statistics().started == 2
        names = sorted(name for name in session_tasks() if name.startswith("akapulu poll"))
        assert names == sorted(f"akapulu poll {session.id}" for session in (one, started))
        await one.end()
        assert await manager.attach(session_id) is not one


async def test_attached_sessions_take_no_place() -> None:
    """Attached sessions do not count towards `max_sessions`, and their end frees no place."""
    async with crowded() as world, SessionManager(world.client, max_sessions=1) as manager:
        attached = await manager.attach(await _connected(world.client))
        started = await manager.start(REQUEST)
        assert set(manager.sessions) == {attached, started}
        waiting = starting(manager)
        await attached.end()
        await loop_rounds()
        assert (manager.statistics().waiting, world.connects) == (1, 2)
        await started.end()
        await soon(waiting)


async def test_attached_sessions_are_not_measured() -> None:
    """An attached session counts as ready, but its time to ready is not known."""
    async with crowded() as world, SessionManager(world.client) as manager:
        world.crowd.ready = True
        attached = await manager.attach(await _connected(world.client))
        await soon(attached.bot_ready.wait())
        figures = manager.statistics()
        assert (figures.ready, figures.time_to_ready["p50"]) == (1, None)
        await soon((await manager.start(REQUEST)).bot_ready.wait())
        assert manager.statistics().time_to_ready["p50"] is not None


async def test_attaching_to_an_ended_session() -> None:
    """Attaching by the snapshot of an ended session returns an ended session, and the manager keeps nothing of it."""
    async with crowded() as world:
        async with world.client.session(REQUEST) as session:
            pass
        async with SessionManager(world.client) as manager:
            attached = await manager.attach(session.snapshot())
            assert attached.end_reason is EndReason.LEFT
            assert (manager.sessions, manager.get(session.id)) == ((), None)
            assert manager.statistics().ended[EndReason.LEFT] == 1
            assert await manager.drain(timeout=PATIENCE)
        assert world.server.requests[1:] == []


async def test_attaching_to_an_unknown_conversation() -> None:
    """Attaching to a conversation that the service does not know raises its refusal, and affects no other session."""
    async with managed() as (_, manager):
        session = await manager.start(REQUEST)
        unknown = uuid4()
        attaching = [asyncio.create_task(manager.attach(unknown)) for _ in range(2)]
        for outcome in await asyncio.gather(*attaching, return_exceptions=True):
            assert isinstance(outcome, NotFoundError)
        assert manager.sessions == (session,)
        figures = manager.statistics()
        assert (figures.started, figures.ended[EndReason.UNKNOWN]) == (2, 1)
        await session.end()
        assert await manager.drain(timeout=PATIENCE) is True


async def test_attach_awaits_the_first_poll() -> None:
    """All attaches wait for one first poll; a cancel of one of them leaves it and the others alone."""
    async with steered() as world, SessionManager(world.client) as manager:
        gate, body = asyncio.Event(), json.dumps(UPDATE).encode()
        world.service.update = gated(b"", gate, http(200, {"Content-Type": "application/json"}, body))
        first, second = (asyncio.create_task(manager.attach(SESSION)) for _ in range(2))
        await world.server.until(lambda: world.polls == 1)
        assert not manager.sessions
        assert manager.statistics().live[CONNECTING] == 1
        first.cancel()
        await asyncio.wait((first,))
        gate.set()
        session = await soon(second)
        assert (session.polls, session.id) == (1, SESSION)
        assert manager.sessions == (session,)


async def test_closed_while_attaching() -> None:
    """Closing the manager ends an attach whose first poll is under way."""
    async with steered() as world, SessionManager(world.client) as manager:
        world.service.update = hang
        attaching = asyncio.create_task(manager.attach(SESSION))
        await world.server.until(lambda: world.polls == 1)
        await soon(manager.aclose())
        with pytest.raises(ManagerClosedError):
            await attaching
        await world.server.abandoned()
        assert session_tasks() == []


# Bugs of others


class BadSignals(UpdateSignals):
    """Signals with a bug."""

    def reads_as_join(self, text: str) -> bool:
        """Raise at one text."""
        if text == "trouble":
            raise LookupError("a bug in the signals")
        return super().reads_as_join(text)


async def test_bugs_end_their_own_session() -> None:
    """A bug in a participant or in signals ends its own session, with its cause, and no other."""

    @asynccontextmanager
    async def participant(connection: Connection) -> AsyncIterator[None]:
        if connection.conversation_session_id in crowd.ids[1:2]:
            raise LookupError("a bug in the participant")
        yield

    async with crowded() as there, SessionManager(there.client, participant=participant) as manager:
        crowd = there.crowd
        good, bad = [await manager.start(REQUEST) for _ in range(2)]
        await soon(bad.ended.wait())
        assert isinstance(bad.cause, LookupError)
        assert not good.ended.is_set(), good.cause
        assert manager.sessions == (good,)
        await manager.start(REQUEST)

    async with steered() as other, SessionManager(other.client, signals=BadSignals()) as manager:
        session = await manager.start(REQUEST)
        other.service.update = answer({**UPDATE, "latest_update_text": "trouble"})
        with pytest.raises(SessionEndedError):
            await soon(session.bot_ready.wait())
        assert isinstance(session.cause, LookupError)
        assert manager.sessions == ()
        other.service.update = answer(UPDATE)
        assert not (await manager.start(REQUEST)).ended.is_set()


async def test_no_place_is_lost() -> None:
    """After starts, cancels and ends in any order, no place is lost."""
    async with crowded() as world, SessionManager(world.client, max_sessions=4) as manager:
        for round_ in range(20):
            tasks = [starting(manager, timeout=0.001 if number % 5 == 0 else None) for number in range(10)]
            await loop_rounds(round_ % 4)
            for task in tasks[round_ % 3 :: 3]:
                task.cancel()
            while manager._registry.entries or not all(task.done() for task in tasks):
                await asyncio.gather(*(session.end() for session in manager.sessions))
                await asyncio.sleep(0)
            await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: not session_tasks())
        admission = manager._registry.gate.admission
        assert (admission.running, admission.waiting) == (0, 0)
        assert not manager._registry.gate._admissions
        ended = Counter(manager.statistics().ended)
        assert manager.statistics().started == ended.total()
        assert len(await soon(asyncio.gather(*(manager.start(REQUEST) for _ in range(4))))) == 4
