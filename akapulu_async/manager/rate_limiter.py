"""Where polls wait for their turn: so many a second, in the order of asking, and none for who has gone."""

import asyncio
import time
from collections import OrderedDict

from akapulu_async.sansio.admission import Pace

TICK = 0.005
"""Seconds: turns that are due within it are handed out together, since a timer for each would cost more than a turn."""


class RateLimiter:
    """Hands out the turns of a pace, each when it is due: who gives up before has taken none. Not for threads."""

    # Not the loop's time: uvloop's is one of whole milliseconds.
    _now = staticmethod(time.monotonic)

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Wait for the next turn. When cancelled, it is left to those behind."""
        now = self._now()
        if not self._waiting and self._pace.until_next(now) <= 0:
            self._pace.wait(now)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        if self._timer is None:
            self._look_later(now)
        try:
            await turn
        finally:
            self._waiting.pop(turn, None)
            if not self._waiting and self._timer is not None:  # it may be of a loop that ends now
                self._timer.cancel()
                self._timer = None

    def _look_later(self, now: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(TICK, self._pace.until_next(now)), self._hand_out)

    def _hand_out(self) -> None:
        self._timer = None
        now = self._now()
        while self._waiting:
            turn = next(iter(self._waiting))
            if not turn.done():  # else it was cancelled in this moment
                if self._pace.until_next(now) > 0:
                    self._look_later(now)
                    return
                self._pace.wait(now)
                turn.set_result(None)
            del self._waiting[turn]
