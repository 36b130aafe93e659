"""Many requests through few sessions: read lazily, bounded, and with an outcome for each, whatever goes wrong."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from akapulu_async import (
    AkapuluError,
    ApiError,
    ConnectRequest,
    ConversationSession,
    EndReason,
    ManagerClosedError,
    Outcome,
    SessionManager,
    SessionState,
)
from akapulu_async.manager import FanOut
from akapulu_async.manager import fan_out as fan_out_module
from akapulu_async.manager.fan_out import Run, _cancel
from akapulu_async.simulator import Fault
from tests.support.managed import LOOPS, crowded, simulated, soon, until
from tests.support.misbehaving import PATIENCE, REQUEST
from tests.support.steered import session_tasks


def requests(count: int) -> list[ConnectRequest]:
    return [
        ConnectRequest(REQUEST.scenario_id, REQUEST.avatar_id, runtime_vars={"n": str(number)})
        for number in range(count)
    ]


async def nothing(session: ConversationSession) -> str:
    return session.id


async def stay(_: ConversationSession) -> None:
    await asyncio.Event().wait()


class Counted:
    """Counts what is taken of it, as an iterable or an async one."""

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


# What goes in and what comes out


@LOOPS
async def test_each_request_has_an_outcome(anyio_backend: object) -> None:
    """Lists, generators and async ones alike: an outcome a request, with its place, session and value."""
    async with crowded() as world, SessionManager(world.client, max_sessions=3) as manager:
        given = requests(5)

        async def slowly() -> AsyncIterator[ConnectRequest]:
            for request in given:
                await asyncio.sleep(0)
                yield request

        sources: list[Any] = [given, (request for request in given), iter(given), tuple(given), slowly()]
        for source in sources:
            outcomes = [outcome async for outcome in manager.run(source, nothing)]
            assert sorted(outcome.index for outcome in outcomes) == list(range(5))
            for outcome in outcomes:
                assert outcome.request is given[outcome.index]
                assert outcome.session is not None
                assert (outcome.value, outcome.error) == (outcome.session.id, None)
                assert outcome.session.end_reason is EndReason.LEFT
        assert len(set(world.crowd.ids)) == 25
        assert [outcome async for outcome in manager.run([], nothing)] == []
        await until(lambda: not manager._runs)


async def test_outcomes_come_as_they_finish() -> None:
    """A slow one does not hold up the outcomes of those behind it."""
    async with crowded() as world, SessionManager(world.client) as manager:
        slow = asyncio.Event()
        seen: list[int] = []

        async def handler(session: ConversationSession) -> None:
            if session.id == world.crowd.ids[0]:
                await slow.wait()

        async for outcome in manager.run(requests(5), handler, concurrency=2):
            seen.append(outcome.index)
            if len(seen) == 4:
                slow.set()
        assert len(seen) == 5
        assert seen[-1] in {0, 1}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_reads_no_further_ahead_than_it_works(asynchronous: bool) -> None:
    """Of endless requests, those are taken that run, and as many as wait for their reader, and no more."""
    async with crowded() as world, SessionManager(world.client, max_sessions=50) as manager:
        source = Counted(10**9)
        async with manager.run(source.slowly() if asynchronous else source, nothing, concurrency=3) as outcomes:
            await until(lambda: manager.statistics().ended[EndReason.LEFT] == 6)
            await asyncio.sleep(0.02)  # what would be taken besides would be taken now
            assert source.taken == 6
            for taken in range(7, 12):
                await anext(outcomes)
                await until(lambda taken=taken: source.taken == taken)  # type: ignore[misc]
        await until(lambda: source.closed == 1)


async def test_concurrency_is_bounded() -> None:
    """No more run at once than is asked for, be it by `concurrency` or by `max_sessions`."""
    async with crowded() as world, SessionManager(world.client, max_sessions=4) as manager:
        for concurrency, most in ((2, 2), (None, 4), (9, 4)):
            running = peak = 0

            async def handler(session: ConversationSession) -> None:
                nonlocal running, peak
                running += 1
                peak = max(peak, running)
                await until(lambda: session.polls > 1)
                running -= 1

            assert len([_ async for _ in manager.run(requests(20), handler, concurrency=concurrency)]) == 20
            assert peak == most
    async with crowded() as world, SessionManager(world.client) as manager, manager.run(requests(300), stay):
        await until(lambda: world.connects == 100)
        await asyncio.sleep(0.05)  # a hundred is the bound where no other is given
        assert world.connects == 100


@LOOPS
async def test_two_hundred_requests_through_twenty_slots(anyio_backend: object) -> None:
    """All two hundred have an outcome, those whose handler or connect fails too, and all slots are free again."""
    async with simulated(max_concurrent=20, auto_join=False, ready_time=1.0) as (sim, client):
        sim.add_fault(Fault(route="connect", status=400, after=30, times=10))

        async def handler(session: ConversationSession) -> int:
            await session.bot_ready.wait()
            number = int(session.id[:4], 16) % 5
            if number == 0:
                raise LookupError(session.id)
            return number

        async with SessionManager(client, max_sessions=20, participant=sim.participant) as manager:
            async with asyncio.timeout(20):
                outcomes = [outcome async for outcome in manager.run(requests(200), handler)]
            figures = manager.statistics()
        assert sorted(outcome.index for outcome in outcomes) == list(range(200))
        refused = [outcome for outcome in outcomes if isinstance(outcome.error, ApiError)]
        failed = [outcome for outcome in outcomes if isinstance(outcome.error, LookupError)]
        good = [outcome for outcome in outcomes if outcome.error is None]
        assert len(refused) == 10
        assert all(outcome.session is None for outcome in refused)
        assert failed
        assert all(outcome.session and str(outcome.error) == outcome.session.id for outcome in failed)
        assert len(good) + len(failed) == 190
        assert all(outcome.value for outcome in good)
        assert sim.statistics().peak == 20
        assert sim.open_conversations == 0
        assert (figures.started, figures.ready, figures.ended[EndReason.LEFT]) == (200, 190, 190)


# What goes wrong


async def test_bugs_of_handlers_are_outcomes() -> None:
    """What a handler raises, its own `CancelledError` too, is its outcome, and the others go on."""
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

        kinds: list[tuple[Any, type[BaseException]]] = [
            (bug, LookupError),
            (cancels, asyncio.CancelledError),
            (cancels_itself, asyncio.CancelledError),
            (times_out, TimeoutError),
            (no_coroutine, TypeError),
        ]
        for handler, kind in kinds:
            outcomes = [outcome async for outcome in manager.run(requests(3), handler, concurrency=1)]
            assert [type(outcome.error) for outcome in outcomes] == [kind] * 3
            assert all(outcome.session and outcome.session.ended.is_set() for outcome in outcomes)
        assert manager.sessions == ()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_iterable_that_raises(asynchronous: bool) -> None:
    """What the requests' iterable raises comes after the outcomes of what it gave, and comes again if asked again."""

    def broken() -> Iterator[ConnectRequest]:
        yield from requests(3)
        raise LookupError("no more")

    async def broken_slowly() -> AsyncIterator[ConnectRequest]:
        for request in broken():
            yield request

    async with crowded() as world, SessionManager(world.client) as manager:
        outcomes: list[Outcome[str]] = []
        run = manager.run(broken_slowly() if asynchronous else broken(), nothing)
        with pytest.raises(LookupError, match="no more"):  # noqa: PT012 - the loop is what raises
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - what came before the error counts
        assert [outcome.error for outcome in outcomes] == [None] * 3
        with pytest.raises(LookupError):
            await anext(run)


@pytest.mark.parametrize("place", ["in it", "between"])
async def test_an_iterable_that_is_cancelled(place: str) -> None:
    """A `CancelledError` of the iterable's own is its error: what runs goes on, and the reader gets no such error."""
    failed = asyncio.Event()

    async def cancels_itself() -> AsyncIterator[ConnectRequest]:
        """Is cancelled by something of its own, when it is asked for the third or while that has no place."""
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
        run = manager.run(cancels_itself(), handler, concurrency=2 if place == "between" else 3)
        with pytest.raises(AkapuluError, match="CancelledError of its own") as raised:  # noqa: PT012 - as above
            async for outcome in run:
                outcomes.append(outcome)  # noqa: PERF401 - as above
        assert not isinstance(raised.value, ManagerClosedError)
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        assert [(outcome.value, outcome.error) for outcome in outcomes] == [(True, None)] * 2
        with pytest.raises(AkapuluError):
            await anext(run)
        assert (await manager.start(REQUEST)).id


async def test_what_is_no_iterable() -> None:
    """What cannot be iterated is told to the reader."""
    wrong: Any = 5
    async with crowded() as world, SessionManager(world.client) as manager:
        with pytest.raises(TypeError, match="iterable"):
            await anext(manager.run(wrong, nothing))


# Leaving early


@asynccontextmanager
async def running(count: int = 10) -> AsyncIterator[tuple[Any, SessionManager]]:
    """Open a simulator and a manager whose participants tell when they left."""
    async with simulated(auto_join=False) as (sim, client):
        async with SessionManager(client, max_sessions=3, participant=sim.participant) as manager:
            yield sim, manager
        assert sim.open_conversations == 0


async def first_only(session: ConversationSession) -> int:
    await session.bot_ready.wait()
    if session.connection.room_url and first_only.__dict__.setdefault("rooms", []):
        await asyncio.Event().wait()
    first_only.__dict__["rooms"].append(session.id)
    return 1


@LOOPS
@pytest.mark.parametrize("way", ["break", "raise", "with", "aclose", "cancel"])
async def test_leaving_early(anyio_backend: object, way: str) -> None:
    """However the loop is left, what runs is cancelled and leaves its room, and what waits is not sent any more."""
    first_only.__dict__["rooms"] = []
    async with running() as (sim, manager):
        run = manager.run(requests(1000), first_only)

        async def read() -> None:
            async for outcome in run:
                assert outcome.value == 1
                if way == "raise":
                    raise LookupError
                if way == "cancel":
                    await asyncio.Event().wait()
                break

        if way == "with":
            async with run:
                await read()
        elif way == "aclose":
            await read()
            await run.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(run)
            await run.aclose()
        elif way == "raise":
            with pytest.raises(LookupError):
                await read()
        elif way == "cancel":
            task = asyncio.create_task(read())
            await until(lambda: first_only.__dict__["rooms"])
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
        else:
            await read()
        if way not in {"with", "aclose"}:
            del read, run
            gc.collect()  # the raised error's frames know the iterator
            await until(lambda: not manager._runs)
        assert manager._runs == set()
        assert manager.sessions == ()
        assert manager.statistics().waiting == 0
        await until(lambda: not session_tasks())
        assert sim.count("connect") <= 7
        # A connect that was on its way made a conversation that nobody joined; it is named in the log.
        assert all(view.end_reason == "user_left" for view in sim.conversations.values() if view.joined_at is not None)
        assert sim.statistics().ended
        sim.advance(1000)


async def test_leaving_waits_for_handlers() -> None:
    """The end of the `async with` is the end of every handler, its clean-up included, even if it is cancelled."""
    cleaned = 0

    async def handler(_: ConversationSession) -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            cleaned += 1

    async with crowded() as world, SessionManager(world.client) as manager:
        for cancelled in (False, True):
            cleaned = 0
            run = manager.run(requests(5), handler)
            await until(lambda: len(manager.sessions) == 5 and all(session.polls for session in manager.sessions))
            closing = asyncio.create_task(run.aclose())
            await asyncio.sleep(0)
            if cancelled:
                closing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await closing
            await asyncio.wait((closing,))
            assert cleaned == 5
            assert manager.sessions == ()


async def test_leaving_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that does not heed its cancellation holds up the closing for its grace alone; a warning says so."""
    monkeypatch.setattr(fan_out_module, "CLOSE_GRACE", 0.05)
    inside, freed = asyncio.Event(), asyncio.Event()

    async def stubborn(_: ConversationSession) -> None:
        inside.set()
        while not freed.is_set():
            with suppress(asyncio.CancelledError):
                await freed.wait()

    async with crowded() as world, SessionManager(world.client) as manager:
        run = manager.run([REQUEST], stubborn)
        await soon(inside.wait())
        closing = asyncio.create_task(run.aclose())
        # The closing is shielded, so that no timeout can be put around it.
        done, _ = await asyncio.wait((closing,), timeout=PATIENCE)
        freed.set()
        assert done
        assert "a run could not be ended in time: a handler does not heed its cancellation" in caplog.text
        caplog.clear()
        await soon(run.aclose())
        assert manager.sessions == ()
        assert not caplog.text


async def test_left_before_it_began() -> None:
    """A run that is closed or dropped at once takes nothing."""
    async with crowded() as world, SessionManager(world.client) as manager:
        source = Counted(5)
        run = manager.run(source, nothing)
        await run.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        assert source.taken == 0
        manager.run(source, nothing)
        await until(lambda: not manager._runs)
        assert world.connects == 0


async def test_left_before_it_began_but_read() -> None:
    """A run that is closed before it began ends for those, too, who wait for its outcomes already."""
    async with crowded() as world, SessionManager(world.client) as manager:

        async def leave() -> None:
            await run.aclose()

        leaving = asyncio.create_task(leave())  # first, so that its turn is before that of the run
        run = manager.run(requests(2), nothing)
        with pytest.raises(StopAsyncIteration):
            await soon(anext(run))
        await leaving
        assert world.connects == 0


async def test_closed_before_it_began() -> None:
    """A run whose manager is closed before it began says that outcomes are missing."""
    async with crowded() as world:
        async with SessionManager(world.client) as manager:
            run = manager.run(requests(2), nothing)
        for _ in range(2):
            with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                await anext(run)
        assert world.connects == 0


async def test_the_manager_is_closed_meanwhile() -> None:
    """When somebody closes the manager, the reader is told; it never looks as if all had been done."""
    async with crowded() as world:
        async with SessionManager(world.client) as manager:
            run = manager.run(requests(5), stay)
            reading = [asyncio.create_task(anext(run)) for _ in range(2)]
            await world.connecting(5)
        for task in reading:
            with pytest.raises(ManagerClosedError, match="outcomes are missing"):
                await soon(task)
        assert session_tasks() == []


async def test_the_manager_is_drained_meanwhile() -> None:
    """When the manager is drained, what runs finishes, no more is taken of endless requests, and the reader is told."""
    async with crowded() as world, SessionManager(world.client, max_sessions=2) as manager:
        finish = asyncio.Event()

        async def handler(_: ConversationSession) -> bool:
            return await finish.wait()

        source = Counted(10**9)
        run = manager.run(source, handler)
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
async def test_drained_while_the_iterable_waits(anyio_backend: object) -> None:
    """A drained manager interrupts an iterable that waits, and takes nothing of it even if it is opened again."""
    queue: asyncio.Queue[ConnectRequest] = asyncio.Queue()
    closed = asyncio.Event()

    async def fed() -> AsyncIterator[ConnectRequest]:
        try:
            while True:
                yield await queue.get()
        finally:
            await asyncio.sleep(0)  # closing may take its time
            closed.set()

    async with crowded() as world, SessionManager(world.client) as manager:
        queue.put_nowait(REQUEST)
        run = manager.run(fed(), nothing)
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
    """A request that the iterable was giving when the manager was drained has an outcome, which says so."""
    queue: asyncio.Queue[ConnectRequest] = asyncio.Queue()

    async def fed() -> AsyncIterator[ConnectRequest]:
        while True:
            yield await queue.get()

    async with crowded() as world, SessionManager(world.client) as manager:
        queue.put_nowait(REQUEST)
        run = manager.run(fed(), nothing)
        assert (await soon(anext(run))).error is None
        queue.put_nowait(REQUEST)
        await manager.drain()
        assert isinstance((await soon(anext(run))).error, ManagerClosedError)
        with pytest.raises(ManagerClosedError, match="outcomes are missing"):
            await soon(anext(run))
        assert queue.empty()


@pytest.mark.parametrize("way", ["ends", "gives one"])
async def test_an_iterable_that_does_not_heed_its_interruption(way: str) -> None:
    """What an interrupted iterable gives yet has an outcome, and its end is not taken for the end of the requests."""
    waiting = asyncio.Event()

    async def heedless() -> AsyncIterator[ConnectRequest]:
        with suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.Event().wait()
        if way == "gives one":
            yield REQUEST

    async with crowded() as world, SessionManager(world.client) as manager:
        run = manager.run(heedless(), nothing)
        await soon(waiting.wait())
        await manager.drain()
        if way == "gives one":
            assert isinstance((await soon(anext(run))).error, ManagerClosedError)
        with pytest.raises(ManagerClosedError, match="outcomes are missing"):
            await soon(anext(run))
        assert world.connects == 0


async def test_left_while_the_iterable_waits() -> None:
    """A run that is left cancels an iterable that waits, and asks no more of one that does not heed it."""
    asked = 0
    waiting = asyncio.Event()

    async def heedless() -> AsyncIterator[ConnectRequest]:
        nonlocal asked
        while True:
            asked += 1
            waiting.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield REQUEST

    async with crowded() as world, SessionManager(world.client) as manager:
        run = manager.run(heedless(), nothing)
        await soon(waiting.wait())
        closing = asyncio.create_task(run.aclose())
        done, _ = await asyncio.wait((closing,), timeout=PATIENCE)  # the closing is shielded
        assert done
        with pytest.raises(StopAsyncIteration):
            await soon(anext(run))
        assert (asked, world.connects) == (1, 0)


def test_dropped_after_the_loop_was_closed() -> None:
    """An iterator that outlives its loop is dropped without a word."""
    loop = asyncio.new_event_loop()
    driver: Any = loop.create_future()  # a task that is never finished would make words of its own
    loop.close()
    _cancel(driver)
    assert not driver.done()


async def test_several_readers() -> None:
    """Several tasks may read one run: each outcome goes to one of them, and all are told the end."""
    async with crowded() as world, SessionManager(world.client, max_sessions=3) as manager:
        run = manager.run(requests(20), nothing)

        async def read() -> list[int]:
            return [outcome.index async for outcome in run]

        read_by = await soon(asyncio.gather(*(read() for _ in range(4))))
        assert sorted(index for indexes in read_by for index in indexes) == list(range(20))


async def test_sessions_that_end_by_themselves() -> None:
    """A conversation that ends while its handler runs cancels nothing: the handler sees it and says what it is."""
    async with simulated(call_seconds=5) as (_, client), SessionManager(client, max_sessions=5) as manager:

        async def handler(session: ConversationSession) -> SessionState:
            await session.ended.wait()
            return session.state

        outcomes = [outcome async for outcome in manager.run(requests(10), handler)]
        assert [outcome.value for outcome in outcomes] == [SessionState.ENDED] * 10
        assert {outcome.session and outcome.session.end_reason for outcome in outcomes} == {EndReason.COMPLETED}


async def test_memory_is_constant() -> None:
    """Twenty thousand requests take no more memory than five hundred; with a stand-in of sessions, to be quick."""

    @asynccontextmanager
    async def session(_: ConnectRequest) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield object()

    async def handler(_: ConversationSession) -> bytes:
        await asyncio.sleep(0)
        return bytes(1000)

    async def peak(count: int) -> int:
        source, done = Counted(count), 0
        refusing = asyncio.get_running_loop().create_future()
        gc.collect()
        tracemalloc.start()
        try:
            async for _ in FanOut(Run(source, handler, session, 100, refusing), set()):
                done += 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert done == count

    few = await peak(500)
    assert await peak(20_000) < 1.5 * few + 100_000
