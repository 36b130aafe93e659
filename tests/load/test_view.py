"""A running load test at one moment."""

import pytest

from akapulu_async import SessionState
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Latencies, Sample
from akapulu_async.load.view import view
from tests.support.measured import attempt


def sample(at: float, connects: int, polls: int) -> Sample:
    return Sample(
        at=at,
        states={SessionState.BOT_READY: 3},
        waiting=2,
        connects=connects,
        polls=polls,
        failed_polls=0,
        loop_lag=0.004,
    )


def test_the_first_view() -> None:
    """Before anything is recorded, a view is empty."""
    seen = view(Recorder(), LoadPlan(conversations=10, concurrency=1))
    assert (seen.arrived, seen.planned, seen.failed, seen.bins, seen.ready_p50) == (0, 10, 0, None, None)
    assert (seen.connects_per_second, seen.polls_per_second, seen.states) == (0, 0, {})
    assert (seen.left, seen.share) == (None, 0)


def test_a_view_has_what_was_recorded() -> None:
    """Counts are current; states and lag are those of the last sample."""
    recorder = Recorder()
    recorder.note_arrival(None)
    recorder.note_connected(0, 0.5)
    recorder.note_ready(0, 4.0)
    recorder.note_over(attempt(failure="failed"))
    recorder.samples.append(sample(1, 1, 1))
    seen = view(recorder, LoadPlan(duration=60, concurrency=1))
    assert (seen.arrived, seen.connected, seen.ready, seen.over, seen.failed) == (1, 1, 1, 1, 1)
    assert seen.ready_p50 == pytest.approx(4.0, rel=1e-3)
    assert seen.bins is not None
    assert seen.bins.counts == (1,)
    assert (seen.states, seen.waiting, seen.loop_lag) == ({SessionState.BOT_READY: 3}, 2, 0.004)


def test_a_view_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view asks no HDR histogram for a quantile, which takes milliseconds on the event loop that is measured."""
    recorder = Recorder()
    recorder.note_ready(0, 4.0)
    monkeypatch.setattr(Latencies, "at", lambda *_: pytest.fail("a quantile of an HDR histogram"))
    assert view(recorder, LoadPlan(duration=60, concurrency=1)).ready_p95 == 4.0


def test_how_much_is_left_is_known_once_something_is_over() -> None:
    """The share of the test that is over, by time, is that of the time so far."""
    recorder = Recorder()
    _, due = recorder.note_arrival(None)
    recorder.note_over(attempt(due=due, ended=due + 30))
    seen = view(recorder, LoadPlan(conversations=1, concurrency=1))
    assert seen.left == pytest.approx(30, abs=0.1 + seen.at)
    assert 0 < seen.share == pytest.approx(seen.at / (seen.at + (seen.left or 0)))


def test_speeds_are_those_of_the_last_seconds() -> None:
    """Connects and polls per second are averaged over the last five samples."""
    recorder = Recorder()
    recorder.samples += [sample(float(at), 0, 0) for at in range(10)]
    recorder.samples += [sample(10.0 + at, 10 * at, 200 * at) for at in range(6)]
    seen = view(recorder, LoadPlan(duration=60, concurrency=1))
    assert (seen.connects_per_second, seen.polls_per_second) == (10, 200)
