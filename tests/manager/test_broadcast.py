"""Broadcast to all events: none blocks, none grows without bound, and each is told what it missed."""

import asyncio
import gc
import weakref
from datetime import UTC, datetime

import pytest

from akapulu_async import EventsMissed, ManagerEvent, ProgressChanged
from akapulu_async.manager.broadcast import Broadcast, Subscription

AT = datetime(2026, 3, 10, tzinfo=UTC)


def event(number: int) -> ProgressChanged:
    return ProgressChanged(session_id="id", at=AT, elapsed=0.0, percent=float(number), text="")


def events(first: int, last: int) -> list[ProgressChanged]:
    return [event(number) for number in range(first, last + 1)]


async def rest(listener: Subscription) -> list[ManagerEvent]:
    return [each async for each in listener]


async def test_all_in_order() -> None:
    """A listener hears everything from its coming on, in order, until the close."""
    broadcast = Broadcast()
    broadcast.publish(events(1, 2))
    listener = broadcast.subscribe(10)
    broadcast.publish(events(3, 4))
    broadcast.publish(events(5, 5))
    broadcast.close()
    assert await rest(listener) == events(3, 5)
    assert await rest(listener) == []


async def test_each_has_its_own() -> None:
    """What one has read, the others still have."""
    broadcast = Broadcast()
    one, other = broadcast.subscribe(10), broadcast.subscribe(10)
    broadcast.publish(events(1, 2))
    assert await anext(one) == event(1)
    broadcast.close()
    assert await rest(one) == [event(2)]
    assert await rest(other) == events(1, 2)


@pytest.mark.parametrize(("told", "missed"), [(3, 0), (4, 1), (10, 7), (1000, 997)])
async def test_who_falls_behind_is_told_how_much(told: int, missed: int) -> None:
    """Of more events than its buffer holds, a listener gets the newest, and before them the count of the others."""
    broadcast = Broadcast()
    listener = broadcast.subscribe(3)
    broadcast.publish(events(1, told))
    assert len(listener._events) == 3
    broadcast.close()
    assert await rest(listener) == [EventsMissed(missed)] * bool(missed) + events(told - 2, told)


async def test_what_was_missed_is_told_once() -> None:
    """Each count is of what was missed since the last."""
    broadcast = Broadcast()
    listener = broadcast.subscribe(1)
    broadcast.publish(events(1, 2))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(1), event(2)]
    broadcast.publish(events(3, 5))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(2), event(5)]


async def test_who_waits_is_woken() -> None:
    """A listener that waits gets what comes, and the close ends its wait; so it is with several at one."""
    broadcast = Broadcast()
    listener = broadcast.subscribe(10)
    first, second = (asyncio.ensure_future(anext(listener)) for _ in range(2))
    await asyncio.sleep(0)
    broadcast.publish(events(1, 1))
    assert await first == event(1)
    assert not second.done()
    broadcast.close()
    with pytest.raises(StopAsyncIteration):
        await second


async def test_dropped_is_forgotten() -> None:
    """A listener that nobody holds is gone without a word or a collector's help."""
    broadcast = Broadcast()
    kept, dropped = broadcast.subscribe(1), broadcast.subscribe(1)
    gone = weakref.ref(dropped)
    gc.disable()
    try:
        del dropped
        assert gone() is None
    finally:
        gc.enable()
    assert list(broadcast._subscriptions) == [kept]


async def test_who_comes_after_the_close() -> None:
    """After the close a listener ends at once instead of waiting for ever; after another opening it hears again."""
    broadcast = Broadcast()
    broadcast.close()
    assert await rest(broadcast.subscribe(1)) == []
    broadcast.open()
    listener = broadcast.subscribe(1)
    broadcast.publish(events(1, 1))
    assert await anext(listener) == event(1)
