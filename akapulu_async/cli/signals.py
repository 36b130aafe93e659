"""Ctrl-C, SIGTERM and a closed terminal: the first signal ends a command cleanly, the second at once."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

from akapulu_async.cli.exits import ExitCode

T = TypeVar("T")

HANG_UP = getattr(signal, "SIGHUP", None)  # not on Windows
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number is not None)

SHOW_CURSOR = "\033[?25h"
"""A live display hides it."""


class Interrupts:
    """Cancels a task on the first signal, and ends the process on the second."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self._loop = task.get_loop()
        self.came = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal, also while the loop is blocked."""
        if self.came:
            if number == HANG_UP:  # a terminal that closes sends it more than once
                return
            _leave_at_once()
        self.came = True
        self._loop.call_soon_threadsafe(self._task.cancel)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle signals within a block."""
        # Not with the loop's handlers, which a blocked loop does not call.
        # nohup ignores the end of its terminal.
        ignored = HANG_UP is not None and signal.getsignal(HANG_UP) is signal.SIG_IGN
        handled = [number for number in SIGNALS if not (ignored and number == HANG_UP)]
        before = [(number, signal.signal(number, self.handle)) for number in handled]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop.

    The first signal cancels it and waits for its clean-up; the second ends the process at once. A coroutine that
    handles the cancellation and returns has its value returned.

    Raises:
        KeyboardInterrupt: A signal cancelled it.
    """

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        interrupts = Interrupts(task)
        with interrupts.installed():
            try:
                return await main
            except asyncio.CancelledError:
                if interrupts.came:
                    raise KeyboardInterrupt from None
                raise

    return asyncio.run(watched())


def _leave_at_once() -> None:
    for stream in (sys.stderr, sys.stdout):
        if stream.isatty():
            with suppress(OSError):  # the terminal may be gone
                os.write(stream.fileno(), f"{SHOW_CURSOR}\n".encode())  # the prompt begins a line of its own
            break
    os._exit(ExitCode.INTERRUPTED)
