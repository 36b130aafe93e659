"""Waiting for what must not be left behind, whatever happens to the one who waits."""

import asyncio
import gc
import threading
import time
import weakref

import anyio
import pytest

from akapulu_async.tasks import callers, enter_user_code, in_thread, is_cancelled, settle, user_code


async def gate(opened: asyncio.Event) -> str:
    await opened.wait()
    return "through"


async def test_all_done() -> None:
    """It returns True when all are done, failed and cancelled ones among them, and raises none of their errors."""
    loop = asyncio.get_running_loop()
    done, failed, cancelled = loop.create_future(), loop.create_future(), loop.create_future()
    waiting = asyncio.ensure_future(settle([done, failed, cancelled], None))
    loop.call_soon(done.set_result, None)
    loop.call_soon(failed.set_exception, OSError("why"))
    loop.call_soon(cancelled.cancel)
    assert await waiting
    assert isinstance(failed.exception(), OSError)


async def test_nothing_to_wait_for() -> None:
    """For nothing, it does not wait."""
    assert await settle([], None)
    assert await settle([], 0)


async def test_grace() -> None:
    """After the grace it returns False, and leaves alone what is not done."""
    future = asyncio.get_running_loop().create_future()
    assert not await settle([future], 0.01)
    assert not await settle([future], 0)
    assert not future.done()
    future.set_result(None)
    assert await settle([future], 0)


async def test_done_in_time_on_a_loop_that_is_late() -> None:
    """If the loop was blocked until the grace had passed, work that was about to be done still counts as done."""
    begun, done = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def work() -> None:
        begun.set()
        for _ in range(3):
            await asyncio.shield(done)
            await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await begun.wait()
    loop = asyncio.get_running_loop()
    loop.call_soon(done.set_result, None)
    loop.call_soon(time.sleep, 0.1)
    assert await settle([task], 0.05)


@pytest.mark.parametrize("cancels", [1, 3])
async def test_native_cancel(cancels: int) -> None:
    """A cancel, or several, does not shorten the wait, and is raised after it."""
    opened = asyncio.Event()
    task = asyncio.create_task(gate(opened))
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await settle([task], None)

    waiter = asyncio.create_task(wait())
    await begun.wait()
    for _ in range(cancels):
        waiter.cancel()
        await asyncio.wait([waiter], timeout=0.01)
        assert not waiter.done()
    opened.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert task.result() == "through"


async def test_cancel_and_grace() -> None:
    """Cancelled or not, it waits no longer than the grace."""
    future = asyncio.get_running_loop().create_future()
    waiter = asyncio.create_task(settle([future], 0.03))
    await asyncio.wait([waiter], timeout=0.01)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await waiter


async def test_anyio_cancel() -> None:
    """A cancel by an anyio scope does not shorten the wait, and takes effect at the next await."""
    opened = asyncio.Event()
    task = asyncio.create_task(gate(opened))
    settled = False
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        asyncio.get_running_loop().call_later(0.02, opened.set)
        assert await settle([task], None)
        settled = True
        await asyncio.Event().wait()
    assert settled
    assert scope.cancelled_caught
    assert task.done()


async def test_timeout_stays_a_timeout() -> None:
    """An asyncio.timeout that strikes meanwhile comes out as its TimeoutError, after the wait."""
    opened = asyncio.Event()
    task = asyncio.create_task(gate(opened))
    asyncio.get_running_loop().call_later(0.03, opened.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await settle([task], None)
    assert task.done()


async def test_in_thread() -> None:
    """What blocks runs in another thread, and what it returns or raises comes out."""
    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "seven")


@pytest.mark.parametrize("fails", [False, True])
async def test_in_thread_cancelled(*, fails: bool) -> None:
    """A cancel is raised only when the thread is done, and an error of the thread is not told of then."""
    begun, release, done = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(5)
        done.set()
        if fails:
            raise OSError("why")

    task = asyncio.create_task(in_thread(block))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0.01)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_is_cancelled() -> None:
    """A task that awaits what was cancelled is not cancelled itself; one that was asked to end is, and so is none."""
    loop = asyncio.get_running_loop()

    async def meet(what: "asyncio.Future[None]") -> bool:
        try:
            await what
        except asyncio.CancelledError:
            return is_cancelled(asyncio.current_task())
        return False

    met, asked = loop.create_future(), loop.create_future()
    tasks = asyncio.create_task(meet(met)), asyncio.create_task(meet(asked))
    await asyncio.sleep(0)
    met.cancel()
    tasks[1].cancel()
    assert [await task for task in tasks] == [False, True]
    assert is_cancelled(None)


async def test_callers() -> None:
    """A task is among the callers of its own code and of the tasks that this creates, until it is gone."""

    async def inner() -> None:
        enter_user_code()
        seen.append([task.get_name() for task in callers() if task is not None])
        await asyncio.create_task(child(), name="child")
        enter_user_code(())
        seen.append([task.get_name() for task in callers() if task is not None])

    async def child() -> None:
        seen.append([task.get_name() for task in callers() if task is not None])

    async def outer() -> None:
        enter_user_code()
        await asyncio.create_task(inner(), name="inner")

    seen: list[list[str]] = []
    await asyncio.create_task(outer(), name="outer")
    assert seen == [["outer", "inner"], ["outer", "inner"], ["inner"]]
    assert callers() == []
    left = asyncio.create_task(asyncio.sleep(0))
    user_code.set((weakref.ref(left),))
    await left
    del left
    await asyncio.sleep(0)
    gc.collect()
    assert callers() == [None]
    enter_user_code()
    assert callers() == [asyncio.current_task()]
