"""Limits of time, which read what has come before they pass; cheap enough for thousands of calls a second."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

TURNS = 32
"""Turns of the loop between the moment that a time limit passes and the judgement. If the loop was blocked meanwhile,
everything that came in time is read and handled in them: an answer takes about five, and a few for each 256 KiB."""


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
        alone = self.expired and self.cancelled_alone
        task, self.task = self.task, None  # its frames would keep it alive, and it them
        if self.expired and task is not None:
            task.uncancel()
            if alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    @property
    def cancelled_alone(self) -> bool:
        """True if it has passed, and nobody else cancelled the task: a cancel from outside takes precedence."""
        return self.expired and self.task is not None and self.task.cancelling() <= self._cancelling + 1

    def remaining(self) -> float:
        """Return how many seconds are left; infinite for no limit."""
        return self.when - asyncio.get_running_loop().time()

    def again(self) -> "Deadline":
        """Return another one of the same length."""
        return Deadline(self._deadlines)


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
        self._timer: asyncio.Handle | None = None

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

    def _look(self, due: float = 0.0, turn: int = 0) -> None:
        """Cancel the tasks whose deadline has passed, after some turns, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        due = due or loop.time()
        self._timer = None
        for deadline in self.running:
            if deadline.when > due:
                self._timer = loop.call_at(deadline.when, self._look)
                return
            if not deadline.expired and deadline.task is not None:
                if turn < TURNS:
                    self._timer = loop.call_soon(self._look, due, turn + 1)
                    return
                deadline.expired = True
                deadline.task.cancel()


@contextmanager
def patience(seconds: float | None) -> Iterator[Deadline]:
    """Limit the time of a block, like `asyncio.timeout()`, but let it finish with everything that came in time.

    Args:
        seconds: The limit; None for no limit.

    Raises:
        TimeoutError: It passed.
    """
    deadlines = Deadlines(seconds)
    try:
        with Deadline(deadlines) as deadline:
            yield deadline
    finally:
        deadlines.close()
