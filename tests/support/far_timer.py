"""A timeout that strikes when the test says so, not when a busy machine was slow."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

NEVER = 1e9
"""Seconds: the timeout to pass. A timer of the loop is not so far away."""


@contextmanager
def far_timer() -> Iterator[Callable[[], None]]:
    """Yield a function that lets a timer of `NEVER` seconds strike that the block has set: the first of several."""
    loop, timers = asyncio.get_running_loop(), list[tuple[asyncio.TimerHandle, Callable[[], object]]]()

    def noted(schedule: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        def call(when: float, callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.TimerHandle:
            timer = schedule(when, callback, *args, **options)
            if when >= NEVER:
                timers.append((timer, partial(callback, *args)))
            return timer

        return call

    def strike() -> None:
        timer, callback = min(timers, key=lambda noted: noted[0].when())
        timers.clear()
        timer.cancel()
        with pytest.MonkeyPatch.context() as patch:  # the callback may look at the time
            patch.setattr(loop, "time", timer.when)
            callback()

    with pytest.MonkeyPatch.context() as patch:
        for name in ("call_at", "call_later"):  # one of them, depending on the loop and its version
            patch.setattr(loop, name, noted(getattr(loop, name)))
        yield strike
