"""Events for a listener: it blocks nobody, does not grow without bound, and learns how many it missed."""

import asyncio
from datetime import UTC, datetime

import pytest

from akapulu_async import EventsMissed, ManagerEvent, ProgressChanged
from akapulu_async.manager.broadcast import Subscription

AT = datetime(2026, 3, 10, tzinfo=UTC)


def event(number: int) -> ProgressChanged:
    return ProgressChanged(session_id="id", at=AT, elapsed=0.0, percent=float(number), text="")


def events(first: int, last: int) -> list[ProgressChanged]:
    return [event(number) for number in range(first, last + 1)]


async def rest(listener: Subscription) -> list[ManagerEvent]:
    return [each async for each in listener]


async def test_all_in_order() -> None:
    """A listener gets all events in order, until the close."""
    listener = Subscription(10)
    listener.publish(events(1, 2))
    listener.publish(events(3, 3))
    listener.close()
    assert await rest(listener) == events(1, 3)
    assert await rest(listener) == []


@pytest.mark.parametrize(("published", "missed"), [(3, 0), (4, 1), (10, 7), (1000, 997)])
async def test_a_listener_that_falls_behind(published: int, missed: int) -> None:
    """If its buffer is too small, a listener gets the count of the dropped events and then the newest."""
    listener = Subscription(3)
    listener.publish(events(1, published))
    assert len(listener._events) == 3
    listener.close()
    assert await rest(listener) == [EventsMissed(missed)] * bool(missed) + events(published - 2, published)


async def test_each_drop_is_counted_once() -> None:
    """Each count is of the events dropped since the last count."""
    listener = Subscription(1)
    listener.publish(events(1, 2))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(1), event(2)]
    listener.publish(events(3, 5))
    assert [await anext(listener), await anext(listener)] == [EventsMissed(2), event(5)]


async def test_waiting_tasks() -> None:
    """A publication wakes one of the tasks that wait on a listener, and the close ends the other's wait."""
    listener = Subscription(10)
    first, second = (asyncio.ensure_future(anext(listener)) for _ in range(2))
    await asyncio.sleep(0)
    listener.publish(events(1, 1))
    assert await first == event(1)
    assert not second.done()
    listener.close()
    with pytest.raises(StopAsyncIteration):
        await second
