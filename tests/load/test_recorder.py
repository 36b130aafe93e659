"""What is noted while a load test runs."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from akapulu_async import SessionState
from akapulu_async.load.recorder import INTERVAL, Complaints, LagMeter, Recorder
from akapulu_async.log import logger
from akapulu_async.sansio.statistics import Tally
from tests.support.managed import until
from tests.support.measured import attempt


def test_latencies_count_from_the_due_time() -> None:
    """What is noted of a conversation is measured from when it was due."""
    recorder = Recorder()
    recorder.note_connected(due=1.0, connected=3.0)
    recorder.note_ready(due=1.0, ready=9.0)
    assert recorder.connect.mean == pytest.approx(2.0)
    assert recorder.ready.mean == pytest.approx(8.0)
    assert sum(bar.count for bar in recorder.ready_spread.bars(5)) == 1


def test_moments_in_utc_are_told_by_its_clock() -> None:
    """A moment in UTC, before or after the beginning, is so many seconds by the test's clock."""
    recorder = Recorder()
    for seconds in (-5.0, 0.0, 60.0):
        assert recorder.at(recorder.started_at + timedelta(seconds=seconds)) == pytest.approx(seconds, abs=0.05)


def test_arrivals_are_numbered_and_their_lateness_noted() -> None:
    """A conversation of a schedule keeps its due time, and how late it comes up is noted; others are due now."""
    recorder = Recorder()
    assert recorder.note_arrival(-3.0) == (0, -3.0)
    assert recorder.arrival_lag.mean == pytest.approx(3.0, abs=1)
    number, due = recorder.note_arrival(None)
    assert number == 1
    assert 0 <= due <= recorder.clock()
    assert recorder.arrival_lag.count == 1


def test_failures_are_counted_by_cause() -> None:
    """Attempts that failed count under their cause, and others do not."""
    recorder = Recorder()
    for cause in ("ready_timeout", None, "ready_timeout", "ServerError 503"):
        recorder.note_over(attempt(failure=cause))
    assert recorder.failures == {"ready_timeout": 2, "ServerError 503": 1}
    assert len(recorder.attempts) == 4


def test_a_sample_has_the_longest_lag_since_the_one_before() -> None:
    """A sample takes the states from the manager, the counts so far, and the longest lag once."""
    recorder = Recorder()
    recorder.lag.note(0.3)
    statistics = Tally().statistics({SessionState.BOT_READY: 2}, waiting=4, polls=7, poll_failures=0)
    recorder.take_sample(statistics)
    recorder.take_sample(statistics)
    first, second = recorder.samples
    assert (first.waiting, first.polls, first.states[SessionState.BOT_READY]) == (4, 7, 2)
    assert (first.loop_lag, second.loop_lag) == (0.3, 0.0)


def test_the_end_is_noted_once_it_is_there() -> None:
    """When it is closed, how long the test took and what it cost stand fast."""
    recorder = Recorder()
    sum(number * number for number in range(200_000))
    recorder.close()
    assert 0 < recorder.seconds <= recorder.clock()
    assert 0 < recorder.cpu_share < 1.5


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


def test_warnings_of_one_kind_count_together() -> None:
    """Warnings that differ in the conversation alone are one sentence with their number; debug lines are none."""
    complaints = Complaints()
    with complaints.heard():
        for _ in range(1200):
            logger.warning("! conversation %s holds a slot", uuid4())
        logger.warning("! a run could not be ended")
        logger.debug("~ a pause")
    assert complaints.told == ("conversation ... holds a slot (1,200 times).", "a run could not be ended.")


def test_it_listens_for_its_block_alone() -> None:
    """Before and after the block, warnings go where they always go."""
    complaints = Complaints()
    with complaints.heard():
        assert complaints in logger.handlers
    assert complaints not in logger.handlers
    assert complaints.told == ()
