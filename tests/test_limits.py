"""Limits of time: each passes in time, reads what came before, and no cancel is mistaken for another."""

import asyncio
import math
import time
from collections.abc import Callable

import anyio
import pytest

from akapulu_async.limits import TURNS, Deadline, Deadlines, patience

LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"debug": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


async def turn() -> None:
    """Let the others run until they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


@LOOPS
async def test_a_deadline_that_passes() -> None:
    """What waits beyond it gets a TimeoutError, not before, and can tell that it was this one."""
    loop, deadline = asyncio.get_running_loop(), Deadline(Deadlines(0.05))
    began = loop.time()
    with pytest.raises(TimeoutError), deadline:
        await wait_for_ever()
    assert loop.time() - began > 0.04
    assert deadline.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@LOOPS
async def test_a_deadline_that_is_kept() -> None:
    """What is done before it passes hears nothing of it."""
    loop, deadlines = asyncio.get_running_loop(), Deadlines(0.02)
    kept = Deadline(deadlines)
    began = loop.time()
    with kept:  # without a wait, in which it could pass on a busy machine
        left = kept.remaining()
        assert 0.02 - (loop.time() - began) - 1e-6 < left < 0.02 + 1e-6
    passed = Deadline(deadlines)
    with pytest.raises(TimeoutError), passed:
        await wait_for_ever()
    assert not kept.expired


async def test_no_limit() -> None:
    """Without seconds there is none, and no timer."""
    deadlines = Deadlines(None)
    deadline = Deadline(deadlines)
    with deadline:
        await asyncio.sleep(0)
        assert deadline.remaining() == math.inf
    assert deadlines._timer is None


@LOOPS
async def test_many_deadlines() -> None:
    """Each passes at its own time, in order, though one timer serves all; those that are over are forgotten."""
    deadlines, passed = Deadlines(0.1), list[int]()

    async def wait(number: int, opened: asyncio.Event) -> None:
        await asyncio.sleep(number * 0.01)
        try:
            with Deadline(deadlines):
                await opened.wait()
        except TimeoutError:
            passed.append(number)

    gates = [asyncio.Event() for _ in range(6)]
    tasks = [asyncio.create_task(wait(number, gate)) for number, gate in enumerate(gates)]
    for gate in gates[::2]:
        gate.set()
    await asyncio.gather(*tasks)
    assert passed == [1, 3, 5]
    assert not deadlines.running


async def test_a_cancel_from_outside_is_none_of_its() -> None:
    """A cancel before it passes stays a CancelledError."""
    deadline = Deadline(Deadlines(60))

    async def wait() -> None:
        with deadline:
            await wait_for_ever()

    task = asyncio.create_task(wait())
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not deadline.expired


async def test_a_cancel_from_outside_goes_before() -> None:
    """If it passes and the task is cancelled from outside too, the cancel wins."""
    deadline = Deadline(Deadlines(0.01))
    begun = asyncio.Event()

    async def wait() -> None:
        with deadline:
            try:
                await wait_for_ever()
            except asyncio.CancelledError:
                begun.set()
                await wait_for_ever()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert deadline.expired


@pytest.mark.parametrize("outer", [asyncio.timeout, anyio.fail_after], ids=["asyncio", "anyio"])
async def test_within_another_limit(outer: Callable[[float], anyio.CancelScope]) -> None:
    """An outer limit that passes first is the outer's, and one that does not is not touched."""

    async def within(seconds: float, inner: Deadline) -> None:
        limit = outer(seconds)
        if isinstance(limit, asyncio.Timeout):
            async with limit:
                with inner:
                    await wait_for_ever()
        else:
            with limit, inner:
                await wait_for_ever()

    deadline = Deadline(Deadlines(60))
    with pytest.raises(TimeoutError):
        await within(0.02, deadline)
    assert not deadline.expired
    deadline = Deadline(Deadlines(0.02))
    with pytest.raises(TimeoutError):
        await within(60, deadline)
    assert deadline.expired


async def test_another_error_passes() -> None:
    """What is raised in the block comes out as it is, though the deadline passed meanwhile."""
    deadline = Deadline(Deadlines(0.01))

    async def fail_late() -> None:
        with deadline:
            try:
                await wait_for_ever()
            except asyncio.CancelledError:
                raise OSError("why") from None

    with pytest.raises(OSError, match="why"):
        await fail_late()
    task = asyncio.current_task()
    assert deadline.expired
    assert task is not None
    assert task.cancelling() == 0


async def test_closing_lets_go_of_the_timer() -> None:
    """After closing no timer is left, unless somebody waits; a later deadline passes all the same."""
    deadlines = Deadlines(0.02)
    asyncio.get_running_loop().call_soon(deadlines.close)
    with pytest.raises(TimeoutError), Deadline(deadlines):
        await wait_for_ever()
    with Deadline(deadlines):
        pass
    deadlines.close()
    assert deadlines._timer is None
    with pytest.raises(TimeoutError), Deadline(deadlines):
        await wait_for_ever()


async def test_the_task_is_let_go() -> None:
    """A deadline that is over knows no task: its frames would be kept alive by it."""
    deadline = Deadline(Deadlines(60))
    with deadline:
        assert deadline.task is asyncio.current_task()
    assert deadline.task is None


@LOOPS
async def test_a_result_that_came_in_time_is_kept() -> None:
    """If the loop was blocked until the deadline had passed, the block still gets a result that came before."""
    deadline, done = Deadline(Deadlines(0.05)), asyncio.get_running_loop().create_future()

    async def chain(links: int) -> str:
        """Wait for a task that waits for a task ..., each of which takes turns of the loop."""
        return await (asyncio.create_task(chain(links - 1)) if links else done)

    with deadline:
        task = asyncio.create_task(chain(5))
        await turn()
        loop = asyncio.get_running_loop()
        loop.call_soon(done.set_result, "done")
        loop.call_soon(time.sleep, 0.1)
        assert await task == "done"
    assert not deadline.expired


async def test_an_endless_chain_of_turns_passes_it() -> None:
    """A block that never waits for anything but its next turn is ended."""
    turns = 0

    async def spin() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with pytest.raises(TimeoutError), Deadline(Deadlines(0.01)):
        await spin()
    assert turns >= TURNS


async def test_it_says_who_cancelled() -> None:
    """Within the block, it tells its own cancel from one that came from outside too."""
    deadline, seen = Deadline(Deadlines(0.01)), list[bool]()

    async def wait(begun: asyncio.Event) -> None:
        with deadline:
            assert not deadline.cancelled_alone
            for _ in range(2):
                try:
                    await wait_for_ever()
                except asyncio.CancelledError:
                    seen.append(deadline.cancelled_alone)
                    begun.set()

    begun = asyncio.Event()
    task = asyncio.create_task(wait(begun))
    await begun.wait()
    task.cancel()
    await asyncio.wait((task,))
    assert seen == [True, False]


async def test_another_of_its_length() -> None:
    """A deadline gives others of the same length, with the same timer."""
    deadlines = Deadlines(60)
    with Deadline(deadlines) as first, first.again() as second:
        assert 59 < second.remaining() <= 60
        assert list(deadlines.running) == [first, second]


@LOOPS
async def test_patience() -> None:
    """It ends a block in time, says that it did, and leaves no timer; None and a block that is quick are not ended."""
    with pytest.raises(TimeoutError), patience(0.01) as limit:
        await wait_for_ever()
    assert limit.expired
    for seconds in (None, 60, 0):
        with patience(seconds) as limit:
            await asyncio.sleep(0)
        assert not limit.expired
        assert limit._deadlines._timer is None
    with pytest.raises(LookupError), patience(60):
        raise LookupError
