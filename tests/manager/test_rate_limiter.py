"""The rate limiter of polls: in order, no faster than the pace, and no turn for cancelled waiters."""

import asyncio

import pytest

from akapulu_async.manager.rate_limiter import RateLimiter
from akapulu_async.sansio.admission import Pace
from tests.support.managed import LOOPS, loop_rounds, soon, until
from tests.support.steered import Clock

pytestmark = LOOPS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the clock of the rate limiters."""
    return Clock(monkeypatch, RateLimiter)


async def test_turns_within_the_burst(clock: Clock) -> None:
    """Within the burst, no take waits and no timer is set."""
    limiter = RateLimiter(Pace(128.0, burst=4 / 128))
    for _ in range(5):
        await soon(limiter.take())
    assert limiter._timer is None
    late = asyncio.create_task(limiter.take())
    await loop_rounds()
    assert not late.done()
    clock.now += 1 / 128
    await soon(late)


async def test_in_order_and_no_faster_than_the_pace(clock: Clock) -> None:
    """Beyond the burst, takes wait for their turns, first come, first served."""
    limiter, order = RateLimiter(Pace(128.0, burst=0.0)), list[int]()

    async def take(number: int) -> None:
        await limiter.take()
        order.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(10)]
    for number in range(10):
        await until(lambda number=number: len(order) > number)  # type: ignore[misc]
        assert order == list(range(number + 1))
        clock.now += 1 / 128
    await soon(asyncio.gather(*tasks))
    assert limiter._timer is None


async def test_cancelled_waiters_take_no_turn(clock: Clock) -> None:
    """However many waiters were cancelled, the next one gets the next turn."""
    limiter = RateLimiter(Pace(128.0, burst=0.0))
    await limiter.take()
    first = asyncio.create_task(limiter.take())
    many = [asyncio.create_task(limiter.take()) for _ in range(1000)]
    last = asyncio.create_task(limiter.take())
    await asyncio.sleep(0)
    for task in many:
        task.cancel()
    await asyncio.wait(many)
    assert all(task.cancelled() for task in many)
    for task in (first, last):
        assert not task.done()
        clock.now += 1 / 128
        await soon(task)
    assert not limiter._waiting


async def test_cancelled_as_its_turn_comes(clock: Clock) -> None:
    """A waiter cancelled in the same loop iteration as its turn leaves the turn to the next."""
    limiter = RateLimiter(Pace(0.001, burst=0.0))
    await limiter.take()
    first, second = asyncio.create_task(limiter.take()), asyncio.create_task(limiter.take())
    await asyncio.sleep(0)
    clock.now += 1000.0  # one turn is due
    first.cancel()
    limiter._grant()
    await soon(second)
    await asyncio.wait([first])
    assert first.cancelled()


async def test_no_timer_without_waiters() -> None:
    """The last waiter that is cancelled cancels the timer: the next one may come on another loop."""
    limiter = RateLimiter(Pace(0.001, burst=0.0))
    await limiter.take()
    task = asyncio.create_task(limiter.take())
    await asyncio.sleep(0)
    assert limiter._timer is not None
    task.cancel()
    await asyncio.wait([task])
    assert limiter._timer is None
