"""Cancels a coroutine at each of its awaits in turn."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from itertools import count
from typing import Any


async def cancelled_at(number: int, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the current task, and cancel the task at one of its suspensions, counted from 0."""
    return await _cancelled_at(number, coroutine)


@types.coroutine
def _cancelled_at(number: int, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    resume: Callable[[], Any] = partial(coroutine.send, None)
    for suspension in count():
        try:
            awaited = resume()
        except StopIteration as finished:
            return finished.value
        if suspension == number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        try:
            yield awaited
            resume = partial(coroutine.send, None)
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's
            resume = partial(coroutine.throw, error)
    raise AssertionError
