"""Waits that a cancellation does not cut short, and the user code that they must not wait for."""

import asyncio
import math
import weakref
from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio

from akapulu_async.limits import TURNS

T = TypeVar("T")

PASSED_ON = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)
"""Raised to end a task or the program. All else that user code raises, of any class, is an error of its own."""

user_code: ContextVar[tuple["weakref.ref[asyncio.Task[Any]]", ...]] = ContextVar("akapulu_user_code", default=())
"""The tasks in which user code runs that led here, the innermost last. The tasks that it creates inherit this."""


def enter_user_code(outer: "tuple[weakref.ref[asyncio.Task[Any]], ...] | None" = None) -> None:
    """Note that the current task runs user code from here on. `outer` replaces the value that it inherited."""
    task = asyncio.current_task()
    assert task is not None
    outer = user_code.get() if outer is None else outer
    # Without those that are done, so that a chain of sessions, each started by the one before, does not grow.
    running = [caller for caller in outer if not ((known := caller()) is None or known.done())]
    user_code.set((*running, weakref.ref(task)))


def callers() -> "list[asyncio.Task[Any] | None]":
    """Return the tasks whose user code called this: to wait for them would be a deadlock. None: one that is gone."""
    return [task() for task in user_code.get()]


async def settle(futures: Collection["asyncio.Future[Any]"], grace: float | None) -> bool:
    """Wait until all are done, at most `grace` seconds; None for no limit. Returns True if all are.

    A cancel of the waiting task, native or of an anyio scope, does not shorten the wait; it is raised after it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (math.inf if grace is None else grace)
    turns = TURNS if grace else 0
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while pending := [future for future in futures if not future.done()]:
            left = deadline - loop.time()
            if left <= 0 and not turns:
                break
            try:
                if left > 0:
                    await asyncio.wait(pending, timeout=None if left == math.inf else left)
                else:
                    turns -= 1
                    await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    return not pending


def is_cancelled(task: "asyncio.Task[Any] | None") -> bool:
    """Return True if a task itself was cancelled, not only something that it awaits; also for None."""
    return task is None or task.cancelling() > 0


def retrieve(task: "asyncio.Task[Any]") -> None:
    """Mark the error of a task as seen, so that asyncio does not log it once more."""
    if not task.cancelled():
        task.exception()


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run a blocking function in a thread. If cancelled, waits until the function is done: it may hold an open file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        await asyncio.wait((work,))
    except asyncio.CancelledError:
        await settle((work,), None)
        raise
    finally:
        work.exception()  # retrieved, also if the caller is cancelled
    return work.result()
