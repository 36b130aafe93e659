"""RateLimiter of polls: in order, none faster than the pace, none for who has gone."""

import asyncio
import time
from typing import Any

import pytest

from akapulu_async.manager.rate_limiter import RateLimiter
from akapulu_async.sansio.admission import Pace

PATIENCE = 5.0


@pytest.fixture(params=[{"debug": False}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each test on asyncio's own loop and on uvloop."""
    return "asyncio", request.param


async def test_a_turn_that_is_due_is_taken_at_once() -> None:
    """Within the burst, nobody waits."""
    turns = RateLimiter(Pace(1.0, burst=4.0))
    async with asyncio.timeout(0.5):
        for _ in range(5):
            await turns.take()
    assert turns._timer is None


async def test_turns_come_in_order_and_no_faster_than_the_pace() -> None:
    """Past the burst, one waits for the other, first come first served."""
    turns, order = RateLimiter(Pace(100.0, burst=0.0)), list[int]()

    async def take(number: int) -> None:
        await turns.take()
        order.append(number)

    began = time.monotonic()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(take(number))
    assert order == list(range(10))
    assert time.monotonic() - began >= 0.089
    assert turns._timer is None


async def test_who_gives_up_takes_no_turn() -> None:
    """However many have waited and gone, whoever comes next has the next turn."""
    turns = RateLimiter(Pace(20.0, burst=0.0))
    await turns.take()
    first = asyncio.create_task(turns.take())
    many = [asyncio.create_task(turns.take()) for _ in range(1000)]
    last = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    for task in many:
        task.cancel()
    await asyncio.wait(many)
    assert all(task.cancelled() for task in many)
    async with asyncio.timeout(PATIENCE):
        await first
        await last
    assert not turns._waiting


async def test_one_that_is_cancelled_as_its_turn_comes_leaves_it() -> None:
    """A cancel in the same round of the loop as the turn costs those behind nothing."""
    turns = RateLimiter(Pace(0.001, burst=0.0))
    await turns.take()
    first, second = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    turns._pace = Pace(1.0, burst=0.0)  # one turn is due, and the next in a second
    first.cancel()
    turns._grant()
    async with asyncio.timeout(0.5):
        await second
    await asyncio.wait([first])
    assert first.cancelled()


async def test_nothing_is_left_when_all_have_gone() -> None:
    """The last to give up takes the timer along: the next may come on another loop."""
    turns = RateLimiter(Pace(0.001, burst=0.0))
    await turns.take()
    task = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    assert turns._timer is not None
    task.cancel()
    await asyncio.wait([task])
    assert turns._timer is None
