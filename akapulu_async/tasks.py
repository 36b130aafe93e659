"""Waits that a cancellation does not cut short."""

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import anyio

from akapulu_async.limits import TURNS

T = TypeVar("T")


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
