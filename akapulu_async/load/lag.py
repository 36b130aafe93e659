"""How late the event loop is: what every latency that is measured on it may be too long by."""

import asyncio
import time

from akapulu_async.load.results import Latencies

INTERVAL = 0.01
"""Seconds between two looks."""


class LagMeter:
    """Sleeps again and again, and notes how much later than asked it comes up."""

    def __init__(self) -> None:
        self.lag = Latencies()
        self._worst = 0.0

    async def watch(self) -> None:
        """Note until cancelled."""
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.note(max(0.0, time.monotonic() - due))

    def note(self, late: float) -> None:
        """Count by how many seconds it was late, and all the looks that fell into that time."""
        self.lag.add(late, every=INTERVAL)
        self._worst = max(self._worst, late)

    def take_worst(self) -> float:
        """Return the longest since this was last asked for."""
        worst, self._worst = self._worst, 0.0
        return worst
