"""The measurements taken while a load test runs."""

import asyncio
import logging
import time
from uuid import uuid4

import pytest

from akapulu_async import SessionManager, SessionState
from akapulu_async.load.recorder import LAG_INTERVAL, LagMeter, Recorder, WarningCounter
from tests.support.managed import crowded, until
from tests.support.measured import attempt
from tests.support.misbehaving import REQUEST

LOGGER = logging.getLogger("akapulu_async")


def test_latencies_count_from_the_due_time() -> None:
    """Latencies are measured from the time a conversation was due."""
    recorder = Recorder()
    recorder.note_connected(due=1.0, connected=3.0)
    recorder.note_ready(due=1.0, ready=9.0)
    assert recorder.connect.mean == pytest.approx(2.0)
    assert recorder.ready.mean == pytest.approx(8.0)
    bins = recorder.ready_spread.bins(5)
    assert bins is not None
    assert bins.counts == (1,)


def test_moments_are_converted_to_its_clock() -> None:
    """A moment of the monotonic clock is converted to the test's clock."""
    recorder = Recorder()
    before, moment = recorder.clock(), time.monotonic()
    assert before <= recorder.at(moment) <= recorder.clock()
    assert recorder.at(moment - 5) == pytest.approx(recorder.at(moment) - 5)


def test_arrivals_are_numbered_and_their_lag_recorded() -> None:
    """A scheduled arrival keeps its due time, and its lag is recorded; an unscheduled one is due now."""
    recorder = Recorder()
    assert recorder.note_arrival(-3.0) == (0, -3.0)
    assert (recorder.arrival_lag.highest or 0) >= 3.0
    before = recorder.clock()
    number, due = recorder.note_arrival(None)
    assert number == 1
    assert before <= due <= recorder.clock()
    assert recorder.arrival_lag.count == 1


def test_failures_are_counted_by_cause() -> None:
    """Failed attempts are counted by cause, successful ones are not."""
    recorder = Recorder()
    for cause in ("ready_timeout", None, "ready_timeout", "ServerError 503"):
        recorder.note_over(attempt(failure=cause))
    assert recorder.failures == {"ready_timeout": 2, "ServerError 503": 1}
    assert len(recorder.attempts) == 4


async def test_a_sample_has_the_longest_lag_since_the_last_one() -> None:
    """A sample has the manager's states, the counts so far, and the longest lag, which is reported once."""
    recorder = Recorder()
    recorder.lag.note(0.3)
    async with crowded() as service, SessionManager(service.client) as manager, manager.session(REQUEST):
        statistics = manager.statistics()
        recorder.take_sample(statistics)
        recorder.take_sample(statistics)
    first, second = recorder.samples
    assert (first.waiting, first.polls, first.states) == (0, statistics.polls, statistics.live)
    assert sum(first.states.values()) == 1
    assert SessionState.ENDED not in first.states
    assert (first.loop_lag, second.loop_lag) == (0.3, 0.0)


def test_duration_and_cpu_share_are_fixed_at_the_end() -> None:
    """When the recorder is closed, the duration and the CPU share are fixed."""
    recorder = Recorder()
    sum(number * number for number in range(200_000))
    recorder.close()
    assert 0 < recorder.seconds <= recorder.clock()
    assert recorder.cpu_share > 0


async def test_a_blocked_loop_is_noticed() -> None:
    """Whatever blocks the event loop shows as lag at least as long."""
    meter = LagMeter()
    watching = asyncio.create_task(meter.watch())
    await until(lambda: meter.lag.count)
    time.sleep(0.1)  # noqa: ASYNC251 - this is the lag
    await until(lambda: (meter.lag.highest or 0) >= 0.1 - LAG_INTERVAL)
    assert meter.take_worst() >= 0.1 - LAG_INTERVAL
    watching.cancel()


def test_missed_measurements_are_counted() -> None:
    """A lag counts for all measurements that it delayed, so that a long one weighs as much as it lasted."""
    meter = LagMeter()
    meter.note(0.5)
    assert meter.lag.count == pytest.approx(0.5 / LAG_INTERVAL, abs=1)
    meter.note(0.0)
    assert meter.lag.count == pytest.approx(0.5 / LAG_INTERVAL + 1, abs=1)
    assert (meter.take_worst(), meter.take_worst()) == (0.5, 0.0)


def test_warnings_of_one_kind_count_together() -> None:
    """Warnings that differ only in the conversation are one sentence that names the first; debug lines are ignored."""
    warnings, first = WarningCounter(), uuid4()
    with warnings.listening():
        for each in (first, *(uuid4() for _ in range(1200))):
            LOGGER.warning("conversation %s holds a slot", each)
        LOGGER.warning("conversation %s is odd.", first)
        for _ in range(2):
            LOGGER.warning("A run could not be ended.")
        LOGGER.debug("a pause")
    assert warnings.sentences == (
        f"conversation {first} holds a slot (the same of 1,200 other conversations).",
        f"conversation {first} is odd.",
        "A run could not be ended (2 times).",
    )


def test_it_listens_only_within_its_block() -> None:
    """Before and after the block, warnings are not counted."""
    warnings = WarningCounter()
    with warnings.listening():
        assert warnings in LOGGER.handlers
    assert warnings not in LOGGER.handlers
    assert warnings.sentences == ()
