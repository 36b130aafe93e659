"""What a load test measured, as plain values. All times are seconds since the test began, unless they say otherwise."""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import attrs
from hdrh.histogram import HdrHistogram

from akapulu_async.sansio.lifecycle import EndReason, SessionState

LOWEST, HIGHEST, DIGITS = 1, 7_200_000_000, 3
"""What the histograms hold: a microsecond to two hours, with three significant digits."""


class Latencies:
    """Durations in an HDR histogram: quantiles with three significant digits, however many there are."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        self._sum = self._highest = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._histogram.get_total_count())

    def add(self, seconds: float, *, every: float | None = None) -> None:
        """Add one; what is outside of the histogram's range counts as its nearest end.

        Args:
            seconds: How long it was.
            every: Seconds after which the next one would have begun, had this one not held it up: those that were
                left out for that are added too. None if nothing is held up.
        """
        self._record(seconds)
        if every is not None:
            while seconds >= 2 * every:
                seconds -= every
                self._record(seconds)

    def _record(self, seconds: float) -> None:
        value = min(max(round(seconds * 1e6), LOWEST), HIGHEST)
        self._histogram.record_value(value)
        self._sum += value
        self._highest = max(self._highest, value)

    def at(self, share: float) -> float | None:
        """Return the seconds below or at which this share (0 to 1) of all lies; None if there are none."""
        if not self.count:
            return None
        # The histogram would round the rank to the nearest, which is not the share that is asked for.
        rank = max(1, math.ceil(round(share * self.count, 6)))
        # It gives the upper bound of what it cannot tell apart, which may lie above the highest there is.
        value = min(self._histogram.get_value_at_percentile(100 * rank / self.count), self._highest)
        return float(value) / 1e6

    @property
    def mean(self) -> float | None:
        """Their mean in seconds; None if there are none."""
        return self._sum / self.count / 1e6 if self.count else None

    @property
    def highest(self) -> float | None:
        """The longest in seconds; None if there are none."""
        return self._highest / 1e6 if self.count else None


@attrs.frozen(kw_only=True)
class Attempt:
    """One conversation of a load test, over when this is made."""

    index: int
    """Its number, from 0, in the order of arrival."""

    due: float
    """When it was to begin: by the schedule of arrivals, or, in a closed loop, when a place got free. Latencies count
    from here, so that a load generator or an account that falls behind does not hide it."""

    began: float | None = None
    """When the connect that was answered well was sent; None if none was."""

    session_id: str | None = None
    """The conversation; None if no connect succeeded."""

    connected: float | None = None
    """When its connect was answered well."""

    room_joined: float | None = None
    """When it entered the state."""

    ready: float | None = None
    """When the event of its bot's readiness was there."""

    ended: float | None = None
    """When it ended."""

    end_reason: EndReason | None = None
    """Why it ended; None if it never began."""

    failure: str | None = None
    """Why it counts as failed, in a word or two for counting, such as `ready_timeout` or `ServerError 503`; None if
    it got ready and was not broken off by an error."""

    @property
    def connect_latency(self) -> float | None:
        """Seconds from when it was due to its connection."""
        return None if self.connected is None else self.connected - self.due

    @property
    def time_to_ready(self) -> float | None:
        """Seconds from when it was due to its readiness."""
        return None if self.ready is None else self.ready - self.due


@attrs.frozen(kw_only=True)
class Sample:
    """The test at one moment."""

    at: float
    states: Mapping[SessionState, int] = attrs.field(hash=False)
    """How many sessions are in each state but `ended`."""

    waiting: int
    """How many are due and wait: for a place, or for their connect's turn."""

    connects: int
    """Connects answered well so far."""

    polls: int
    """Polls completed so far."""

    failures: int
    """Attempts that failed so far."""

    loop_lag: float
    """The longest time since the last sample by which the event loop was late."""


@attrs.frozen(kw_only=True)
class LoadResult:
    """A whole load test."""

    title: str
    """What was run, in one line, such as `2,000 conversations, 500 at once`."""

    settings: Mapping[str, str] = attrs.field(hash=False)
    """What it was run with, for people: names and values, without secrets."""

    started_at: datetime
    """When it began, in UTC."""

    seconds: float
    """How long it took."""

    attempts: tuple[Attempt, ...]
    """All conversations, in the order of arrival."""

    samples: tuple[Sample, ...]
    """About one a second."""

    connect: Latencies
    """Of all that were connected: seconds from when they were due."""

    ready: Latencies
    """Of all that got ready: seconds from when they were due."""

    loop_lag: Latencies
    """By how much the event loop was late, sampled all along."""

    failures: Mapping[str, int] = attrs.field(hash=False)
    """How many failed, by cause."""

    arrival_lag: Latencies = attrs.field(factory=Latencies)
    """By how much conversations came up later than they were due, through this program's fault; open loop only."""

    resolution: float | None = None
    """By how many seconds at the most polling tells of a readiness late, on average half of that; None if unknown."""

    cpu_share: float | None = None
    """Share of a core that this program used; None if unknown."""

    interrupted: bool = False
    """Whether it was broken off."""

    warnings: tuple[str, ...] = ()
    """What makes the figures doubtful: the load generator was the bottleneck, it was interrupted, ..."""


COLUMNS = (*(field.name for field in attrs.fields(Attempt)), "connect_latency", "time_to_ready")
"""What `Attempt` has, by the same names. What is None is left empty."""


def write_csv(result: LoadResult, path: Path) -> None:
    """Write all attempts, with a line of names above; raises `OSError`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(map(_row, result.attempts))


def _row(attempt: Attempt) -> list[object]:
    return [_cell(getattr(attempt, name)) for name in COLUMNS]


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value


MOST_LAG = 0.05
"""Seconds by which the loop or the arrivals may be late, at their 99th percentile."""

MOST_CPU = 0.9
"""Share of a core past which more load could not have been sent. One event loop uses one core."""

_REMEDY = "leave it a core to itself, or use fewer conversations a process, or a longer --poll-interval"


def doubts(result: LoadResult) -> Iterator[str]:
    """Yield what makes the figures doubtful, each in a sentence or two."""
    if result.interrupted:
        yield "It was interrupted: what ran was ended, and the figures are those of what was measured until then."
    lag = result.loop_lag.at(0.99)
    if lag is not None and lag > MOST_LAG:
        yield (
            f"The load generator was the bottleneck: its event loop was up to {lag:.3f} s late (p99), "
            f"which makes latencies too long by as much; {_REMEDY}."
        )
    late = result.arrival_lag.at(0.99)
    if late is not None and late > MOST_LAG:
        yield (
            f"The load generator did not keep its schedule: arrivals were up to {late:.3f} s late (p99), "
            f"which the latencies include; {_REMEDY}, or a lower --rate."
        )
    if result.cpu_share is not None and result.cpu_share > MOST_CPU:
        yield f"The load generator used {result.cpu_share:.0%} of a core, which is all that it can use; {_REMEDY}."
