"""A running load test at one moment."""

import pytest

from akapulu_async import SessionState
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.results import Sample
from akapulu_async.load.view import view
from tests.support.measured import attempt


def sample(at: float, connects: int, polls: int) -> Sample:
    return Sample(
        at=at, states={SessionState.BOT_READY: 3}, waiting=2, connects=connects, polls=polls, failures=0, loop_lag=0.004
    )


def test_the_first_view() -> None:
    """Before anything is recorded, a view is empty."""
    seen = view(Recorder(), 10)
    assert (seen.arrived, seen.planned, seen.failed, seen.bins, seen.ready_p50) == (0, 10, 0, None, None)
    assert (seen.connects_per_second, seen.polls_per_second, seen.states) == (0, 0, {})


def test_a_view_has_what_was_recorded() -> None:
    """Counts are current; states and lag are those of the last sample."""
    recorder = Recorder()
    recorder.note_arrival(None)
    recorder.note_connected(0, 0.5)
    recorder.note_ready(0, 4.0)
    recorder.note_over(attempt(failure="failed"))
    recorder.samples.append(sample(1, 1, 1))
    seen = view(recorder, None)
    assert (seen.arrived, seen.connected, seen.ready, seen.over, seen.failed) == (1, 1, 1, 1, 1)
    assert seen.ready_p50 == pytest.approx(4.0, rel=1e-3)
    assert seen.bins is not None
    assert seen.bins.counts == (1,)
    assert (seen.states, seen.waiting, seen.loop_lag) == ({SessionState.BOT_READY: 3}, 2, 0.004)


def test_speeds_are_those_of_the_last_seconds() -> None:
    """Connects and polls per second are averaged over the last five samples."""
    recorder = Recorder()
    recorder.samples += [sample(float(at), 0, 0) for at in range(10)]
    recorder.samples += [sample(10.0 + at, 10 * at, 200 * at) for at in range(6)]
    seen = view(recorder, None)
    assert (seen.connects_per_second, seen.polls_per_second) == (10, 200)
