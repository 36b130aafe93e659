"""A running load test at one moment, for the live display."""

from collections.abc import Mapping, Sequence

import attrs

from akapulu_async import SessionState
from akapulu_async.load.plan import LoadPlan
from akapulu_async.load.recorder import Recorder
from akapulu_async.load.series import Bins

BARS = 10
"""Most bars of the histogram."""

WINDOW = 5
"""Samples over which speeds are averaged."""


@attrs.frozen(kw_only=True)
class View:
    """The test at one moment."""

    at: float
    """Seconds since the start."""

    arrived: int
    """Conversations due so far."""

    planned: int | None
    """Conversations in total; None if the plan has no limit."""

    left: float | None
    """About how many seconds are left; None if that is not known yet."""

    states: Mapping[SessionState, int]
    """Sessions in each state but `ended`, at the last sample."""

    waiting: int
    """Conversations that are due and wait, at the last sample."""

    connected: int
    ready: int
    over: int
    failed_polls: int
    retries: int
    connects_per_second: float
    polls_per_second: float
    ready_p50: float | None
    """Seconds from due to ready; None if none became ready. The same for the next."""

    ready_p95: float | None
    bins: Bins | None
    """Histogram of the times to ready; None if none became ready."""

    failures: Mapping[str, int]
    """Failed attempts by cause."""

    loop_lag: float
    """The event loop's longest lag between the last two samples, in seconds."""

    stopping: bool
    """True if the test was interrupted and the running conversations are being ended."""

    @property
    def share(self) -> float:
        """How much of the test is over, by time: from 0 to 0.99, since it still runs."""
        return 0.0 if self.left is None else min(self.at / max(self.at + self.left, 1e-9), 0.99)

    @property
    def failed(self) -> int:
        """Failed attempts."""
        return sum(self.failures.values())


def view(recorder: Recorder, plan: LoadPlan) -> View:
    """Return a view of what was recorded. It takes no time: it must not delay the event loop that is measured."""
    samples = recorder.samples[-WINDOW - 1 :]
    last = samples[-1] if samples else None
    at, (stays, stayed) = recorder.clock(), recorder.stays
    stay = stays / stayed if stayed else None
    return View(
        at=at,
        arrived=recorder.arrived,
        planned=plan.conversations,
        left=plan.time_left(at, arrived=recorder.arrived, last_due=recorder.last_due, stay=stay),
        states={} if last is None else last.states,
        waiting=0 if last is None else last.waiting,
        connected=recorder.connect.count,
        ready=recorder.ready.count,
        over=len(recorder.attempts),
        failed_polls=recorder.calls.poll_errors.total(),
        retries=recorder.calls.retries,
        connects_per_second=_speed([(each.at, each.connects) for each in samples]),
        polls_per_second=_speed([(each.at, each.polls) for each in samples]),
        # Not from the HDR histogram, which takes milliseconds for a quantile.
        ready_p50=recorder.ready_spread.at(0.5),
        ready_p95=recorder.ready_spread.at(0.95),
        bins=recorder.ready_spread.bins(BARS),
        failures=dict(recorder.failures),
        loop_lag=0.0 if last is None else last.loop_lag,
        stopping=recorder.interrupted,
    )


def _speed(counted: Sequence[tuple[float, int]]) -> float:
    """Return the growth of a count per second."""
    if len(counted) < 2:  # noqa: PLR2004 - a difference takes two
        return 0.0
    (since, before), (until, after) = counted[0], counted[-1]
    return (after - before) / max(until - since, 1e-9)
