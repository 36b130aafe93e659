"""Events for all listeners: none blocks, none grows without bound, and each learns how many it missed."""

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
    """A listener gets all events from its subscription on, in order, until the close."""
    broadcast = Broadcast()
    broadcast.publish(events(1, 2))
    listener = broadcast.subscribe(10)
    broadcast.publish(events(3, 4))
    broadcast.publish(events(5, 5))
    broadcast.close()
    assert await rest(listener) == events(3, 5)
    assert await rest(listener) == []


async def test_listeners_are_independent() -> None:
    """An event read by one listener is still there for the others."""
    broadcast = Broadcast()
    one, other = broadcast.subscribe(10), broadcast.subscribe(10)
    broadcast.publish(events(1, 2))
    assert await anext(one) == event(1)
    broadcast.close()
    assert await rest(one) == [event(2)]
    assert await rest(other) == events(1, 2)


@pytest.mark.parametrize(("published", "missed"), [(3, 0), (4, 1), (10, 7), (1000, 997)])
async def test_a_listener_that_falls_behind(published: int, missed: int) -> None:
    """If its buffer is too small, a listener gets the count of the dropped events and then the newest."""
    broadcast = Broadcast()
    listener = broadcast.subscribe(3)
    broadcast.publish(events(1, published))
    assert len(listener._events) == 3
    broadcast.close()
    assert await rest(listener) == [EventsMissed(missed)] * bool(missed) + events(published - 2, published)


async def test_each_drop_is_counted_once() -> None:
    """Each count is of the events dropped since the last count."""
    broadcast = Broadcast()
    listener = broadcast.subscribe(1)
    broadcast.publish(events(1, 2))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(1), event(2)]
    broadcast.publish(events(3, 5))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(2), event(5)]


async def test_waiting_tasks() -> None:
    """A publication wakes one of the tasks that wait on a listener, and the close ends the other's wait."""
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


async def test_a_dropped_listener() -> None:
    """A listener that nobody holds is removed without the garbage collector."""
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


async def test_subscribing_after_the_close() -> None:
    """After the close, a new listener ends at once; after another opening it gets events again."""
    broadcast = Broadcast()
    broadcast.close()
    assert await rest(broadcast.subscribe(1)) == []
    broadcast.open()
    listener = broadcast.subscribe(1)
    broadcast.publish(events(1, 1))
    assert await anext(listener) == event(1)
