"""`run()`: requests are taken lazily and within bounds, and each has an outcome, whatever goes wrong."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from types import NoneType
from typing import Any

import pytest

from akapulu_async import (
    AkapuluError,
    ApiError,
    ConfigurationError,
    Connection,
    ConnectRequest,
    ConversationSession,
    EndReason,
    ManagerClosedError,
    Outcome,
    PollPolicy,
    SessionManager,
    SessionState,
)
from akapulu_async.manager import FanOut
from akapulu_async.manager import fan_out as fan_out_module
from akapulu_async.simulator import Fault
from tests.support.managed import LOOPS, crowded, loop_rounds, simulated, slow_to_leave, soon, until
from tests.support.misbehaving import PATIENCE, REQUEST
from tests.support.steered import session_tasks


def requests(count: int) -> list[ConnectRequest]:
    return [
        ConnectRequest(REQUEST.scenario_id, REQUEST.avatar_id, runtime_vars={"n": str(number)})
        for number in range(count)
    ]


async def nothing(session: ConversationSession) -> str:
    return session.id


async def outcomes_of(run: FanOut[Any]) -> list[Outcome[Any]]:
    async with run as outcomes:
        return [outcome async for outcome in outcomes]


async def stay(_: ConversationSession) -> None:
    await asyncio.Event().wait()


class Counted:
    """An iterable, or an async one, that counts how many requests were taken and how often it was closed."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.closed = 0
        self._count = count

    def __iter__(self) -> Iterator[ConnectRequest]:
        try:
            for _ in range(self._count):
                self.taken += 1
                yield REQUEST
        finally:
            self.closed += 1

    async def slowly(self) -> AsyncGenerator[ConnectRequest, None]:
        for request in self:
            await asyncio.sleep(0)
            yield request


# Requests and outcomes


@LOOPS
async def test_each_request_has_an_outcome() -> None:
    """Each request of a list, a generator or an async generator has one outcome with its index, session and value."""
    async with crowded() as world, SessionManager(world.client, max_sessions=3) as manager:
        given = requests(5)

        async def slowly() -> AsyncIterator[ConnectRequest]:
            for request in given:
                await asyncio.sleep(0)
                yield request

        sources: list[Any] = [given, (request for request in given), iter(given), tuple(given), slowly()]
        for source in sources:
            outcomes = await outcomes_of(manager.run(source, nothing))
            assert sorted(outcome.index for outcome in outcomes) == list(range(5))
            for outcome in outcomes:
                assert outcome.request is given[outcome.index]
                assert outcome.session is not None
                assert (outcome.value, outcome.error) == (outcome.session.id, None)
                assert outcome.session.end_reason is EndReason.LEFT
        assert len(set(world.crowd.ids)) == 25
        assert await outcomes_of(manager.run([], nothing)) == []
        await until(lambda: not manager._runs)


async def test_outcomes_come_as_they_finish() -> None:
    """A slow handler does not hold up the outcomes of later requests."""
    async with crowded() as world, SessionManager(world.client) as manager:
        slow = asyncio.Event()
        seen: list[int] = []

        async def handler(session: ConversationSession) -> None:
            if session.id == world.crowd.ids[0]:
                await slow.wait()

        async with manager.run(requests(5), handler, concurrency=2) as run:
            async for outcome in run:
                seen.append(outcome.index)
                if len(seen) == 4:
                    slow.set()
        assert len(seen) == 5
        assert seen[-1] in {0, 1}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_requests_are_taken_lazily(asynchronous: bool) -> None:
    """Of endless requests, only those are taken that run, and as many whose outcomes are unread."""
    async with crowded() as world, SessionManager(world.client, max_sessions=50) as manager:
        source = Counted(10**9)
        async with manager.run(source.slowly() if asynchronous else source, nothing, concurrency=3) as outcomes:
            await until(lambda: manager.statistics().ended[EndReason.LEFT] == 6)
            await loop_rounds()
            assert source.taken == 6
            for taken in range(7, 12):
                await anext(outcomes)
                await until(lambda taken=taken: source.taken == taken)  # type: ignore[misc]
        await until(lambda: source.closed == 1)


async def test_concurrency_is_bounded() -> None:
    """No more sessions run at once than `concurrency` or `max_sessions` allow, or 100 if neither is given."""
    async with crowded() as world, SessionManager(world.client, max_sessions=4) as manager:
        for concurrency, most in ((2, 2), (None, 4), (9, 4)):
            running = peak = 0

            async def handler(session: ConversationSession) -> None:
                nonlocal running, peak
                running += 1
                peak = max(peak, running)
                await until(lambda: session.polls > 1)
                running -= 1

            assert len(await outcomes_of(manager.run(requests(12), handler, concurrency=concurrency))) == 12
            assert peak == most
    async with crowded() as world, SessionManager(world.client) as manager, manager.run(source := Counted(300), stay):
        await until(lambda: world.connects == 100)
        await loop_rounds()
        assert source.taken == 100


@LOOPS
async def test_a_hundred_requests_through_ten_slots() -> None:
    """All requests have an outcome, also those whose handler or connect fails, and all slots are free again."""
    async with simulated(max_concurrent=10, auto_join=False, ready_time=1.0) as (sim, client):
        sim.add_fault(Fault(route="connect", status=400, after=20, times=10))

        async def handler(session: ConversationSession) -> int:
            await session.room_joined.wait()
            sim.advance(2)
            await session.bot_ready.wait()
            number = int(session.id[:4], 16) % 5
            if number == 0:
                raise LookupError(session.id)
            return number

        async with SessionManager(client, max_sessions=10, participant=sim.participant) as manager:
            outcomes = await outcomes_of(manager.run(requests(100), handler))
            figures = manager.statistics()
        assert sorted(outcome.index for outcome in outcomes) == list(range(100))
        refused = [outcome for outcome in outcomes if isinstance(outcome.error, ApiError)]
        failed = [outcome for outcome in outcomes if isinstance(outcome.error, LookupError)]
        good = [outcome for outcome in outcomes if outcome.error is None]
        assert len(refused) == 10
        assert all(outcome.session is None for outcome in refused)
        assert failed
        assert all(outcome.session and str(outcome.error) == outcome.session.id for outcome in failed)
        assert len(good) + len(failed) == 90
        assert all(outcome.value for outcome in good)
        assert sim.statistics().peak == 10
        assert sim.open_conversations == 0
        assert (figures.started, figures.ready, figures.ended[EndReason.LEFT]) == (100, 90, 90)


# Failures


async def test_bugs_of_handlers_are_outcomes() -> None:
    """Any exception of a handler, even its own `CancelledError`, is the error of its outcome; the others continue."""
    async with crowded() as world, SessionManager(world.client) as manager:

        async def bug(_: ConversationSession) -> None:
            raise LookupError("a bug")

        async def cancels(_: ConversationSession) -> None:
            inner = asyncio.create_task(asyncio.sleep(10))
            inner.cancel()
            await inner

        async def cancels_itself(_: ConversationSession) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(10)

        async def times_out(_: ConversationSession) -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)

        def no_coroutine(_: ConversationSession) -> None:
            pass

        async def fails(_: ConversationSession) -> None:
            pytest.fail("as a test does")

        async def fails_in_a_group(_: ConversationSession) -> None:
            raise BaseExceptionGroup("as anyio does", [GeneratorExit()])

        async def exits(_: ConversationSession) -> None:
            raise GeneratorExit

        kinds: list[tuple[Any, type[BaseException]]] = [
            (bug, LookupError),
            (fails, pytest.fail.Exception),
            (fails_in_a_group, BaseExceptionGroup),
            (exits, GeneratorExit),
            (cancels, asyncio.CancelledError),
            (cancels_itself, asyncio.CancelledError),
            (times_out, TimeoutError),
            (no_coroutine, TypeError),
        ]
        for handler, kind in kinds:
            outcomes = await outcomes_of(manager.run(requests(3), handler, concurrency=1))
            assert [type(outcome.error) for outcome in outcomes] == [kind] * 3
            assert all(outcome.session and outcome.session.ended.is_set() for outcome in outcomes)
        assert manager.sessions == ()


async def test_a_handler_that_ends_its_session(caplog: pytest.LogCaptureFixture) -> None:
    """A handler may end its session: it waits for the participant, and not for itself."""
    log: list[str] = []

    async def handler(session: ConversationSession) -> None:
        await session.room_joined.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(session.end())
        log.append("ended")

    async with crowded() as world, SessionManager(world.client, participant=slow_to_leave(log)) as manager:
        (outcome,) = await soon(outcomes_of(manager.run([REQUEST], handler)))
    assert outcome.error is None
    assert log == ["left", "ended"]
    assert caplog.records == []


@pytest.mark.parametrize("kind", [LookupError, pytest.fail.Exception, GeneratorExit, BaseExceptionGroup])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_iterable_that_raises(asynchronous: bool, kind: Any) -> None:
    """An error of the requests' iterable is raised after the outcomes so far, and at each further read."""

    def broken() -> Iterator[ConnectRequest]:
        yield from requests(3)
        raise kind("no more", [LookupError()]) if kind is BaseExceptionGroup else kind("no more")

    async def broken_slowly() -> AsyncIterator[ConnectRequest]:
        for request in broken():
            yield request

    async with crowded() as world, SessionManager(world.client) as manager:
        outcomes: list[Outcome[str]] = []
        async with manager.run(broken_slowly() if asynchronous else broken(), nothing) as run:
            with pytest.raises(kind, match="no more"):  # noqa: PT012 - the loop is what raises
                async for outcome in run:
                    outcomes.append(outcome)  # noqa: PERF401 - the outcomes before the error count
            assert [outcome.error for outcome in outcomes] == [None] * 3
            with pytest.raises(kind):
                await anext(run)


# The server of the test is cancelled with the program, and would leave a connection that was just made.
NO_POLLS = PollPolicy(interval=1000.0)


class Leaving:
    """User code that raises in one place of a program, which has a manager and a run."""

    def __init__(self, place: str, error: type[BaseException]) -> None:
        self.place, self.error = place, error
        self.manager: SessionManager | None = None
        self.outcomes: list[Outcome[None]] = []

    def reach(self, place: str) -> None:
        if place == self.place:
            raise self.error

    async def requests(self) -> AsyncIterator[ConnectRequest]:
        yield REQUEST
        yield REQUEST
        await self.joined()
        self.reach("iterable")

    async def joined(self) -> None:
        manager = self.manager
        assert manager is not None
        await until(lambda: [session.room_joined.is_set() for session in manager.sessions] == [True, True])

    async def handler(self, _: ConversationSession) -> None:
        await self.joined()
        self.reach("handler")
        await stay(_)

    @asynccontextmanager
    async def participant(self, _: Connection) -> AsyncIterator[None]:
        yield
        self.reach("participant")

    async def main(self) -> None:
        async with (
            crowded() as world,
            SessionManager(world.client, participant=self.participant, poll=NO_POLLS) as self.manager,
            self.manager.run(self.requests(), self.handler) as run,
        ):
            if self.place == "participant":
                await self.joined()
                asyncio.get_running_loop().call_soon(self.manager.sessions[0]._finish, EndReason.COMPLETED)
            async for outcome in run:
                self.outcomes.append(outcome)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["handler", "iterable", "participant"])
def test_the_end_of_the_program(place: str, error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """`KeyboardInterrupt` and `SystemExit` in user code end the program, with the manager closed and nothing logged."""
    leaving = Leaving(place, error)
    with pytest.raises(error):
        asyncio.run(leaving.main())
    assert leaving.manager is not None
    assert (leaving.manager.sessions, leaving.manager._runs, leaving.outcomes) == ((), set(), [])
    gc.collect()
    assert caplog.records == []


async def test_a_handler_that_fails_while_its_run_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers and iterables that fail when they are cancelled are logged, and do not hold up the leaving."""
    started = 0

    async def handler(_: ConversationSession) -> None:
        nonlocal started
        started += 1
        if started > 2:  # the first two outcomes stay unread, so that there is no room for more
            try:
                await stay(_)
            finally:
                raise LookupError("no clean-up")

    async def source() -> AsyncIterator[ConnectRequest]:
        for request in requests(4):
            yield request
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("no more")

    async with (
        crowded() as world,
        SessionManager(world.client) as manager,
        manager.run(source(), handler, concurrency=5) as run,
    ):
        run._unread = asyncio.Semaphore(2)
        await until(lambda: started == 4)
        await loop_rounds()
    texts = [record.getMessage() for record in caplog.records]
    assert [text for text in texts if "while its run was ended" in text] == [
        "The iterable of requests failed while its run was ended: LookupError: no more",
        *["A handler failed while its run was ended: LookupError: no clean-up"] * 2,
    ]
    assert not [text for text in texts if "in time" in text]


@pytest.mark.parametrize("place", ["in it", "between"])
async def test_an_iterable_that_is_cancelled(place: str) -> None:
    """A `CancelledError` of the iterable's own is its error: running sessions continue, the reader is not cancelled."""
    failed = asyncio.Event()

    async def cancels_itself() -> AsyncIterator[ConnectRequest]:
        """Cancel itself when it is asked for the third request, or while that has no place."""
        task = asyncio.current_task()
        assert task is not None
        try:
            yield REQUEST
            await world.connecting(1)
            if place == "between":
                asyncio.get_running_loop().call_soon(task.cancel)  # as a timeout around the yield does
            yield REQUEST
            await world.connecting(2)
            task = asyncio.create_task(asyncio.sleep(10))
            task.cancel()
            await task
        finally:
            failed.set()

    async def handler(_: ConversationSession) -> bool:
        return await failed.wait()

    async with crowded() as world, SessionManager(world.client) as manager:
        outcomes: list[Outcome[bool]] = []
        async with manager.run(cancels_itself(), handler, concurrency=2 if place == "between" else 3) as run:
            with pytest.raises(AkapuluError, match="CancelledError of its own") as raised:  # noqa: PT012 - as above
                async for outcome in run:
                    outcomes.append(outcome)  # noqa: PERF401 - as above
            assert not isinstance(raised.value, ManagerClosedError)
            assert isinstance(raised.value.__cause__, asyncio.CancelledError)
            assert [(outcome.value, outcome.error) for outcome in outcomes] == [(True, None)] * 2
            with pytest.raises(AkapuluError):
                await anext(run)
            assert (await manager.start(REQUEST)).id


async def test_requests_must_be_iterable() -> None:
    """Requests that cannot be iterated are refused before anything is sent."""
    wrong: Any = 5
    async with crowded() as world, SessionManager(world.client) as manager:
        with pytest.raises(ConfigurationError, match="requests must be an iterable or an async iterable, not int"):
            manager.run(wrong, nothing)


async def test_a_run_must_be_entered() -> None:
    """Reading a run that was not entered raises and shows the right form, and nothing is sent. It is entered once."""
    async with crowded() as world, SessionManager(world.client) as manager:
        source = Counted(5)
        run = manager.run(source, nothing)
        with pytest.raises(ConfigurationError, match=r"async with manager\.run\(requests, handler\) as outcomes"):  # noqa: PT012 - the loop is what raises
            async for _ in run:
                pytest.fail("it was not entered")
        with pytest.raises(ConfigurationError, match=r"async with manager\.run"):
            await anext(run)
        assert (source.taken, world.connects, manager._runs) == (0, 0, set())
        async with run:
            pass
        with pytest.raises(ConfigurationError, match="entered once"):
            await run.__aenter__()


async def test_result() -> None:
    """`result()` returns the handler's value, None included, or raises the error of handler or start."""

    async def handler(session: ConversationSession) -> str | None:
        match world.crowd.ids.index(session.id):
            case 0:
                return "done"
            case 1:
                return None
        raise LookupError("a bug")

    async with crowded() as world, SessionManager(world.client) as manager:
        done, silent, failed = await outcomes_of(manager.run(requests(3), handler, concurrency=1))
        assert (done.result(), silent.result()) == ("done", None)
        with pytest.raises(LookupError, match="a bug"):
            failed.result()


# Leaving early


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Any, SessionManager]]:
    """Open a simulator and a manager with its participants. Checks that no conversation is left open."""
    async with simulated(auto_join=False) as (sim, client):
        async with SessionManager(client, max_sessions=3, participant=sim.participant) as manager:
            yield sim, manager
        assert sim.open_conversations == 0


@LOOPS
@pytest.mark.parametrize("way", ["break", "raise", "cancel"])
async def test_leaving_early(way: str) -> None:
    """However the block is left, its sessions are cancelled and leave their rooms, and no more is sent."""
    handled: list[str] = []

    async def first_only(session: ConversationSession) -> int:
        await session.room_joined.wait()
        sim.advance(10)
        await session.bot_ready.wait()
        handled.append(session.id)
        if len(handled) > 1:
            await asyncio.Event().wait()
        return 1

    async with running() as (sim, manager):

        async def read() -> None:
            async with manager.run(requests(1000), first_only) as run:
                async for outcome in run:
                    assert outcome.value == 1
                    if way == "raise":
                        raise LookupError
                    if way == "cancel":
                        read_one.set()
                        await asyncio.Event().wait()
                    break

        read_one = asyncio.Event()
        reading = asyncio.create_task(read())
        if way == "cancel":
            await soon(read_one.wait())
            reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled() == (way == "cancel")
        if way != "cancel":
            assert isinstance(reading.exception(), LookupError if way == "raise" else NoneType)
        assert manager._runs == set()
        assert manager.sessions == ()
        assert manager.statistics().waiting == 0
        assert session_tasks() == []
        assert sim.count("connect") <= 7
        # A connect that was under way may have made a conversation that nobody joined; the log names it.
        assert all(view.end_reason == "user_left" for view in sim.conversations.values() if view.joined_at is not None)
        assert sim.statistics().ended
        sim.advance(1000)


async def test_leaving_waits_for_handlers() -> None:
    """Leaving waits for every handler and its clean-up, even if the leaving is cancelled."""
    cleaned, cleaning, freed = 0, [], asyncio.Event()

    async def handler(session: ConversationSession) -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.append(session)
            await freed.wait()
            cleaned += 1

    async with crowded() as world, SessionManager(world.client) as manager:
        for cancelled in (False, True):
            cleaned, leave = 0, asyncio.Event()

            async def hold(leave: asyncio.Event = leave) -> None:
                async with manager.run(requests(5), handler):
                    await leave.wait()

            holding = asyncio.create_task(hold())
            await until(lambda: len(manager.sessions) == 5 and all(session.polls for session in manager.sessions))
            leave.set()
            await until(lambda: cleaning)
            if cancelled:
                holding.cancel()
            freed.set()
            await asyncio.wait((holding,))
            assert (holding.cancelled(), cleaned, manager.sessions) == (cancelled, 5, ())
            freed.clear()
            cleaning.clear()


async def test_leaving_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that ignores its cancellation holds up the leaving for a limited time; a warning says so."""
    monkeypatch.setattr(fan_out_module, "CLOSE_GRACE", 0.05)
    inside, freed = asyncio.Event(), asyncio.Event()

    async def stubborn(_: ConversationSession) -> None:
        inside.set()
        while not freed.is_set():
            with suppress(asyncio.CancelledError):
                await freed.wait()

    async def leave_at_once() -> None:
        async with manager.run([REQUEST], stubborn):
            await inside.wait()

    async with crowded() as world, SessionManager(world.client) as manager:
        # Leaving is shielded, so that no timeout can be put around it.
        leaving = asyncio.create_task(leave_at_once())
        done, _ = await asyncio.wait((leaving,), timeout=PATIENCE)
        freed.set()
        assert done
        assert "a run could not be ended in time: a handler ignored cancellation" in caplog.text
        await until(lambda: not manager._runs)


async def test_left_before_it_began() -> None:
    """A run that is left at once takes nothing, and ends for a waiting reader."""
    async with crowded() as world, SessionManager(world.client) as manager:
        source = Counted(5)
        async with manager.run(source, nothing) as run:
            reading = asyncio.create_task(anext(run))
        with pytest.raises(StopAsyncIteration):
            await soon(reading)
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        assert (source.taken, world.connects, manager._runs) == (0, 0, set())


async def test_closed_before_it_began() -> None:
    """A run whose manager is closed before it began reports that outcomes are missing."""
    async with crowded() as world:
        async with SessionManager(world.client) as manager:
            run = manager.run(requests(2), nothing)
        async with run:
            for _ in range(2):
                with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                    await anext(run)
        assert world.connects == 0


async def test_a_run_leaves_nothing_with_its_manager() -> None:
    """A manager keeps nothing of its finished runs."""
    async with crowded() as world, SessionManager(world.client) as manager:
        for _ in range(3):
            await outcomes_of(manager.run(requests(2), nothing))
            await until(lambda: not manager._runs)


async def test_the_manager_is_closed_meanwhile() -> None:
    """If the manager is closed, readers get an error, so that a run never looks complete when it is not."""
    async with crowded() as world:
        async with SessionManager(world.client) as manager, manager.run(requests(5), stay) as run:
            reading = [asyncio.create_task(anext(run)) for _ in range(2)]
            await world.connecting(5)
            await manager.aclose()
            for task in reading:
                with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                    await soon(task)
        assert session_tasks() == []


async def test_the_manager_is_drained_meanwhile() -> None:
    """If the manager is drained, running handlers finish, no more requests are taken, and the reader gets an error."""
    async with crowded() as world, SessionManager(world.client, max_sessions=2) as manager:
        finish = asyncio.Event()

        async def handler(_: ConversationSession) -> bool:
            return await finish.wait()

        source = Counted(10**9)
        async with manager.run(source, handler) as run:
            await until(lambda: len(manager.sessions) == 2 and all(session.polls for session in manager.sessions))
            draining = asyncio.create_task(manager.drain())
            await asyncio.sleep(0)
            finish.set()
            assert await soon(draining) is True
            assert [(await anext(run)).value for _ in range(2)] == [True, True]
            with pytest.raises(ManagerClosedError, match="drained"):
                await soon(anext(run))
            assert (source.taken, source.closed) == (2, 1)


@LOOPS
async def test_drained_while_the_iterable_waits() -> None:
    """Draining interrupts an iterable that waits, and takes no more from it even if the manager is opened again."""
    queue: asyncio.Queue[ConnectRequest] = asyncio.Queue()
    closed = asyncio.Event()

    async def fed() -> AsyncIterator[ConnectRequest]:
        try:
            while True:
                yield await queue.get()
        finally:
            await asyncio.sleep(0)  # closing may take several steps
            closed.set()

    async with crowded() as world, SessionManager(world.client) as manager:
        queue.put_nowait(REQUEST)
        async with manager.run(fed(), nothing) as run:
            assert (await soon(anext(run))).error is None
            reading = asyncio.create_task(anext(run))
            await asyncio.sleep(0)
            assert await soon(manager.drain()) is True
            await manager.open()
            queue.put_nowait(REQUEST)
            with pytest.raises(ManagerClosedError, match="drained"):
                await soon(reading)
            assert closed.is_set()
            assert (queue.qsize(), world.connects) == (1, 1)
            await until(lambda: not manager._runs)


async def test_drained_while_a_request_is_taken() -> None:
    """A request that the iterable was yielding when the manager was drained has an outcome that says so."""
    queue: asyncio.Queue[ConnectRequest] = asyncio.Queue()

    async def fed() -> AsyncIterator[ConnectRequest]:
        while True:
            yield await queue.get()

    async with crowded() as world, SessionManager(world.client) as manager:
        queue.put_nowait(REQUEST)
        async with manager.run(fed(), nothing) as run:
            assert (await soon(anext(run))).error is None
            queue.put_nowait(REQUEST)
            await manager.drain()
            assert isinstance((await soon(anext(run))).error, ManagerClosedError)
            with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                await soon(anext(run))
            assert queue.empty()


@pytest.mark.parametrize("way", ["ends", "gives one"])
async def test_an_iterable_that_ignores_its_interruption(way: str) -> None:
    """A request yielded after the interruption has an outcome, and the iterable's end does not end the run quietly."""
    waiting = asyncio.Event()

    async def stubborn() -> AsyncIterator[ConnectRequest]:
        with suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.Event().wait()
        if way == "gives one":
            yield REQUEST

    async with crowded() as world, SessionManager(world.client) as manager, manager.run(stubborn(), nothing) as run:
        await soon(waiting.wait())
        await manager.drain()
        if way == "gives one":
            assert isinstance((await soon(anext(run))).error, ManagerClosedError)
        with pytest.raises(ManagerClosedError, match="outcomes are missing"):
            await soon(anext(run))
        assert world.connects == 0


async def test_left_while_the_iterable_waits() -> None:
    """A run that is left cancels an iterable that waits, and takes nothing more from one that ignores that."""
    asked = 0
    waiting = asyncio.Event()

    async def stubborn() -> AsyncIterator[ConnectRequest]:
        nonlocal asked
        while True:
            asked += 1
            waiting.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield REQUEST

    async def leave() -> Any:
        async with manager.run(stubborn(), nothing) as run:
            await waiting.wait()
            return run

    async with crowded() as world, SessionManager(world.client) as manager:
        leaving = asyncio.create_task(leave())
        done, _ = await asyncio.wait((leaving,), timeout=PATIENCE)  # leaving is shielded
        assert done
        with pytest.raises(StopAsyncIteration):
            await soon(anext(leaving.result()))
        assert (asked, world.connects) == (1, 0)


async def test_several_readers() -> None:
    """Several tasks may read one run: each outcome goes to one of them, and all see the end."""
    async with (
        crowded() as world,
        SessionManager(world.client, max_sessions=3) as manager,
        manager.run(requests(20), nothing) as run,
    ):

        async def read() -> list[int]:
            return [outcome.index async for outcome in run]

        read_by = await soon(asyncio.gather(*(read() for _ in range(4))))
        assert sorted(index for indexes in read_by for index in indexes) == list(range(20))


async def test_sessions_that_end_by_themselves() -> None:
    """A conversation that ends while its handler runs does not cancel the handler, which decides what that means."""
    async with simulated(call_seconds=None) as (sim, client), SessionManager(client, max_sessions=5) as manager:

        async def handler(session: ConversationSession) -> SessionState:
            sim.advance(8)
            await session.bot_ready.wait()
            sim.leave(session.id)
            await session.ended.wait()
            return session.state

        outcomes = await outcomes_of(manager.run(requests(10), handler))
        assert [outcome.value for outcome in outcomes] == [SessionState.ENDED] * 10
        assert {outcome.session and outcome.session.end_reason for outcome in outcomes} == {EndReason.COMPLETED}


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(120)])])
async def test_memory_is_constant(count: int) -> None:
    """Thousands of requests take no more memory than five hundred. Stand-ins for sessions keep the test quick."""

    @asynccontextmanager
    async def session(_: ConnectRequest) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield object()

    async def handler(_: ConversationSession) -> bytes:
        await asyncio.sleep(0)
        return bytes(1000)

    async def peak(count: int) -> int:
        source, done = Counted(count), 0
        closing = asyncio.get_running_loop().create_future()
        gc.collect()
        tracemalloc.start()
        try:
            run = FanOut(source, handler, session, concurrency=100, runs=set(), closing=closing, changed=lambda: None)
            async with run:
                async for _ in run:
                    done += 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert done == count

    few = await peak(500)
    assert await peak(count) < 1.5 * few + 100_000


async def test_outcomes_before_a_close_are_not_lost() -> None:
    """Outcomes that were not read when the manager was closed are read before its error."""

    async def first_returns(session: ConversationSession) -> str:
        if session.id != world.crowd.ids[0]:
            await asyncio.Event().wait()
        return session.id

    async with (
        crowded() as world,
        SessionManager(world.client) as manager,
        manager.run(requests(2), first_returns) as run,
    ):
        await until(lambda: run._outcomes.qsize() == 1 and world.connects == 2)
        await manager.aclose()
        assert (await soon(anext(run))).value == world.crowd.ids[0]
        with pytest.raises(ManagerClosedError, match="outcomes are missing"):
            await soon(anext(run))
