"""Deadlines of calls, cheap enough for thousands of calls a second: one timer serves all of them."""

import asyncio
import math
from types import TracebackType
from typing import Self


class Deadline:
    """The deadline of a block: `with deadline:`. Raises a TimeoutError there if it cancelled the task.

    Attributes:
        when: The loop's time at which it passes; infinite for never.
        expired: Whether it has passed, within the block.
    """

    __slots__ = ("_cancelling", "_deadlines", "expired", "task", "when")

    def __init__(self, deadlines: "Deadlines") -> None:
        self._deadlines = deadlines
        self.when = math.inf
        self.expired = False
        self.task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self.task, self._cancelling = task, task.cancelling()
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.running.pop(self, None)
        task, self.task = self.task, None  # its frames would keep it alive, and it them
        if self.expired and task is not None:
            # If more than ours is left, there was a cancel from outside too, which takes precedence.
            ours_alone = task.uncancel() <= self._cancelling
            if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def remaining(self) -> float:
        """Return how many seconds are left; infinite for no limit."""
        return self.when - asyncio.get_running_loop().time()


class Deadlines:
    """Deadlines of one length, so that they pass in the order in which they begin, and one timer serves all.

    Args:
        seconds: Their length; None for no limit.

    Attributes:
        running: Those that began and are not over.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, deadline: Deadline) -> None:
        """Start one."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        deadline.when = loop.time() + self._seconds
        self.running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.when, self._look)

    def close(self) -> None:
        """Cancel the timer, unless a deadline is running: then it ends when the last of them is due."""
        if self._timer is not None and not self.running:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Cancel the tasks whose deadline has passed, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        for deadline in self.running:
            if deadline.when > now:
                self._timer = loop.call_at(deadline.when, self._look)
                return
            if not deadline.expired and deadline.task is not None:
                deadline.expired = True
                deadline.task.cancel()
