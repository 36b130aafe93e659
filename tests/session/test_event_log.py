"""The log of a session's events: every watcher reads all of it at its own pace, in bounded memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.sansio.lifecycle import ProgressChanged, SessionEvent, SessionState, StateChanged
from akapulu_async.session.event_log import KEPT_PROGRESS, EventLog, Watcher

EPOCH = datetime(2026, 3, 10, tzinfo=UTC)


def progress(number: int) -> ProgressChanged:
    at = EPOCH + timedelta(seconds=number)
    return ProgressChanged(session_id=None, at=at, elapsed=float(number), percent=0.0, text=str(number))


def change(state: SessionState = SessionState.CONNECTING) -> StateChanged:
    return StateChanged(session_id=None, at=EPOCH, elapsed=0.0, state=state)


def content(log: EventLog) -> list[tuple[int, SessionEvent]]:
    events, number = [], 0
    while (found := log.after(number)) is not None:
        events.append(found)
        number = found[0] + 1
    return events


@given(st.lists(st.lists(st.booleans(), max_size=400), max_size=12))
def test_log(batches: list[list[bool]]) -> None:
    """All state changes and the latest progress are kept, in order and within bounds."""
    log = EventLog()
    published: list[SessionEvent] = []
    for batch in batches:
        events = [progress(len(published) + place) if text else change() for place, text in enumerate(batch)]
        published += events
        log.publish(events)
    kept = content(log)
    assert all(published[number] is event for number, event in kept)
    assert all(before[0] < after[0] for before, after in pairwise(kept))
    texts = [event for event in published if isinstance(event, ProgressChanged)]
    kept_texts = [event for _, event in kept if isinstance(event, ProgressChanged)]
    assert len(kept) - len(kept_texts) == len(published) - len(texts), "state changes are never dropped"
    assert kept_texts == texts[len(texts) - len(kept_texts) :], "the oldest are dropped"
    assert min(len(texts), KEPT_PROGRESS) <= len(kept_texts) <= 2 * KEPT_PROGRESS


def test_after_dropped_events() -> None:
    """A watcher whose next event was dropped continues with the first that is kept."""
    log = EventLog()
    log.publish([progress(number) for number in range(3 * KEPT_PROGRESS)])
    found = log.after(1)
    assert found is not None
    assert found[0] == 2 * KEPT_PROGRESS
    assert log.after(3 * KEPT_PROGRESS) is None


async def test_news_wakes_all_once() -> None:
    """A publication wakes all waiters once; to wait again is to wait for the next one."""
    log = EventLog()
    first = [asyncio.ensure_future(log.news()) for _ in range(3)]
    await asyncio.sleep(0)
    log.publish([change()])
    await asyncio.gather(*first)
    later = asyncio.ensure_future(log.news())
    await asyncio.sleep(0)
    assert not later.done()
    log.publish([change()])
    await later


async def test_a_cancelled_wait_leaves_nothing() -> None:
    """A cancelled waiter is removed, and the others are woken."""
    log = EventLog()
    leaving, staying = (asyncio.ensure_future(log.news()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(log._waiting) == 1
    log.publish([change()])
    await staying
    assert not log._waiting


async def test_a_wait_cancelled_with_the_news() -> None:
    """A cancellation in the same loop iteration as the publication does no harm."""
    log = EventLog()
    leaving, staying = (asyncio.ensure_future(log.news()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    log.publish([change()])
    await asyncio.gather(leaving, staying, return_exceptions=True)
    assert leaving.cancelled()
    assert staying.result() is None


async def test_no_lost_wake_up() -> None:
    """An event published between reading the log and waiting is not missed."""
    log = EventLog()
    watcher = Watcher(log, lambda: False)
    next_one = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    event = change()
    log.publish([event])
    assert await next_one is event


async def test_watchers_are_independent() -> None:
    """Each watcher, also a late one, reads from the start at its own pace."""
    log = EventLog()
    first = Watcher(log, lambda: True)
    log.publish([progress(1), progress(2)])
    assert [event.elapsed async for event in first] == [1, 2]
    log.publish([progress(3)])
    assert [event.elapsed async for event in Watcher(log, lambda: True)] == [1, 2, 3]
    assert [event.elapsed async for event in first] == [3]


async def test_end() -> None:
    """After the last event, the end closes the iteration or raises. It is not checked before."""
    log = EventLog()
    log.publish([progress(1)])

    def raises() -> bool:
        raise OSError("why")

    watcher = Watcher(log, raises)
    assert aiter(watcher) is watcher
    assert (await anext(watcher)).elapsed == 1
    with pytest.raises(OSError, match="why"):
        await anext(watcher)
    closed = Watcher(EventLog(), lambda: True)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(closed)


async def test_a_slow_watcher_is_bounded() -> None:
    """The log keeps no more for a watcher that does not read than without one."""
    log = EventLog()
    log.publish([change()])
    slow = Watcher(log, lambda: True)
    assert await anext(slow) == change()
    for number in range(20_000):
        log.publish([progress(number)])
    rest = [event async for event in slow]
    assert KEPT_PROGRESS <= len(rest) <= 2 * KEPT_PROGRESS
    assert rest[-1].elapsed == 19_999
