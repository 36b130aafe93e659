"""How a running load test stands, for whoever shows it."""

from collections.abc import Mapping, Sequence

import attrs

from akapulu_async.load.recorder import Recorder
from akapulu_async.load.series import Bar
from akapulu_async.sansio.lifecycle import SessionState

BARS = 10
"""How many the histogram has at the most."""

WINDOW = 5
"""Over how many samples speeds are averaged."""


@attrs.frozen(kw_only=True)
class View:
    """The test at one moment."""

    at: float
    """Seconds since it began."""

    arrived: int
    """How many were due so far."""

    planned: int | None
    """How many there are to be; None if that is open."""

    states: Mapping[SessionState, int]
    """How many sessions are in each state but `ended`, at the last sample."""

    waiting: int
    """How many are due and wait for a place, at the last sample."""

    connected: int
    ready: int
    over: int
    connects_per_second: float
    polls_per_second: float
    ready_p50: float | None
    """Seconds from when they were due; None if none got ready. Likewise the next."""

    ready_p95: float | None
    bars: Sequence[Bar]
    """The times to ready."""

    failures: Mapping[str, int]
    """How many failed, by cause."""

    loop_lag: float
    """The longest since the sample before the last by which the event loop was late, in seconds."""

    stopping: bool
    """Whether it was interrupted, and what runs is being ended."""

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(self.failures.values())


def view(recorder: Recorder, planned: int | None) -> View:
    """Look at a test.

    Args:
        recorder: What is noted of it.
        planned: How many conversations there are to be; None if that is open.
    """
    samples = recorder.samples[-WINDOW - 1 :]
    last = samples[-1] if samples else None
    return View(
        at=recorder.clock(),
        arrived=recorder.arrived,
        planned=planned,
        states={} if last is None else last.states,
        waiting=0 if last is None else last.waiting,
        connected=recorder.connect.count,
        ready=recorder.ready.count,
        over=len(recorder.attempts),
        connects_per_second=_speed([(each.at, each.connects) for each in samples]),
        polls_per_second=_speed([(each.at, each.polls) for each in samples]),
        ready_p50=recorder.ready.at(0.5),
        ready_p95=recorder.ready.at(0.95),
        bars=recorder.ready_spread.bars(BARS),
        failures=dict(recorder.failures),
        loop_lag=0.0 if last is None else last.loop_lag,
        stopping=recorder.interrupted,
    )


def _speed(counted: Sequence[tuple[float, int]]) -> float:
    """How much a count grew a second."""
    if len(counted) < 2:  # noqa: PLR2004 - a difference takes two
        return 0.0
    (since, before), (until, after) = counted[0], counted[-1]
    return (after - before) / max(until - since, 1e-9)
