"""How late the event loop is."""

import asyncio
import time

import pytest

from akapulu_async.load.lag import INTERVAL, LagMeter
from tests.support.managed import until


async def test_a_blocked_loop_is_noticed() -> None:
    """What blocks the loop for a quarter of a second is found as the longest lag, and asked for once."""
    meter = LagMeter()
    watching = asyncio.create_task(meter.watch())
    await until(lambda: meter.lag.count)
    time.sleep(0.25)  # noqa: ASYNC251 - this is the lag
    await until(lambda: (meter.lag.highest or 0) > 0.2)
    assert 0.24 - INTERVAL <= meter.take_worst() < 5
    assert meter.take_worst() < 0.24
    watching.cancel()


def test_the_looks_that_it_missed_are_counted() -> None:
    """A lag counts for all the looks that fell into it, so that one long one weighs as much as it lasted."""
    meter = LagMeter()
    meter.note(0.5)
    assert meter.lag.count == pytest.approx(0.5 / INTERVAL, abs=1)
    meter.note(0.0)
    assert meter.lag.count == pytest.approx(0.5 / INTERVAL + 1, abs=1)
