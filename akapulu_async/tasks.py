"""Waiting for tasks and threads that must not be left behind."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def settle(futures: Collection["asyncio.Future[Any]"], grace: float | None) -> bool:
    """Wait until all are done, or until the grace is over. Returns True if all are done.

    A cancel of the waiting task, native or of an anyio scope, does not shorten the wait; it is raised after it.

    Args:
        futures: They are neither cancelled nor asked for their results.
        grace: Seconds; None for no limit.
    """
    loop = asyncio.get_running_loop()
    deadline = None if grace is None else loop.time() + grace
    cancelled: asyncio.CancelledError | None = None
    pending = {future for future in futures if not future.done()}
    with anyio.CancelScope(shield=True):
        while pending:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            try:
                _, pending = await asyncio.wait(pending, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
                pending = {future for future in pending if not future.done()}
    if cancelled is not None:
        raise cancelled
    return not pending


def is_cancelled(task: "asyncio.Task[Any] | None") -> bool:
    """Return True if a task itself was cancelled, not only something that it awaited. None counts as cancelled."""
    return task is None or task.cancelling() > 0


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run a blocking function in a thread, and wait for it even when cancelled: it holds an open file."""
    work = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        await asyncio.wait((work,))
    except asyncio.CancelledError:
        await settle((work,), None)
        raise
    finally:
        work.exception()  # retrieved, also if the caller was cancelled and will not ask
    return work.result()
