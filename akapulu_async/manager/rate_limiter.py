"""Rate limiter for polls: first come, first served; cancelled waiters give up their turn."""

import asyncio
import time
from collections import OrderedDict

from akapulu_async.sansio.admission import Pace

TICK = 0.005
"""Seconds: turns due within it share a timer, since a timer for each would cost more than a turn."""


class RateLimiter:
    """Grants turns at a pace. A waiter that is cancelled takes none. Not thread-safe."""

    # Not the loop's time: uvloop's has whole milliseconds.
    _now = staticmethod(time.monotonic)

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Wait for a turn. If cancelled, the turn goes to the next waiter."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        if self._timer is None:
            self._grant()
        try:
            await turn
        finally:
            self._waiting.pop(turn, None)
            if not self._waiting and self._timer is not None:  # its loop may be about to end
                self._timer.cancel()
                self._timer = None

    def _grant(self) -> None:
        """Grant all turns that are due, and set the timer for the next."""
        self._timer = None
        now = self._now()
        while self._waiting:
            turn = next(iter(self._waiting))
            if not turn.done():  # else it was cancelled just now
                wait = self._pace.until_next(now)
                if wait > 0:
                    self._timer = asyncio.get_running_loop().call_later(max(TICK, wait), self._grant)
                    return
                self._pace.take(now)
                turn.set_result(None)
            del self._waiting[turn]
