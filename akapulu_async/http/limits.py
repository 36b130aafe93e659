"""What bounds calls: places to be had, and deadlines.

Both are as cheap as calls that are made thousands of times a second need them. `asyncio.timeout` sets a timer for
each, and `asyncio.Semaphore` searches its queue when it is contended.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class Places:
    """So many places, first come first served. Not for threads."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def taken(self) -> bool:
        """Take a place if one is free; whether it was."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Take a place; wait until there is one. A cancelled wait takes none."""
        if self.taken():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it was its turn already
            raise

    def give_back(self) -> None:
        """Give a place back, or on to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Deadline:
    """One deadline, around a block: `with deadline:`. Raises TimeoutError there if it cancelled the task in time.

    Attributes:
        when: The loop's time at which it passes; None for never.
        expired: Whether it has passed, within the block.
    """

    __slots__ = ("_cancelling", "_deadlines", "expired", "task", "when")

    def __init__(self, deadlines: "Deadlines") -> None:
        self._deadlines = deadlines
        self.when: float | None = None
        self.expired = False
        self.task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # who waits is a task
        self.task, self._cancelling = task, task.cancelling()
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.running.pop(self, None)
        task, self.task = self.task, None  # whose cancellation's frames would keep it, and it them
        if self.expired and task is not None:
            # If more than ours is left, there was a cancel from outside too, which goes before.
            ours_alone = task.uncancel() <= self._cancelling
            if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error

    def remaining(self) -> float | None:
        """Return how many seconds are left; None for no limit."""
        return None if self.when is None else self.when - asyncio.get_running_loop().time()


class Deadlines:
    """Deadlines that are all as long, so that they pass in the order in which they begin, and one timer serves all.

    Args:
        seconds: How long they are; None for no limit.

    Attributes:
        running: Those that have begun and are not over.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, deadline: Deadline) -> None:
        """Let one begin."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        deadline.when = loop.time() + self._seconds
        self.running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.when, self._look)

    def close(self) -> None:
        """Let go of the timer, unless somebody still waits: then it goes when the last of them is due."""
        if self._timer is not None and not self.running:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Cancel those whose time has come, and look again when the next one's comes."""
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        for deadline in self.running:
            assert deadline.when is not None
            if deadline.when > now:
                self._timer = loop.call_at(deadline.when, self._look)
                return
            if not deadline.expired and deadline.task is not None:
                deadline.expired = True
                deadline.task.cancel()
