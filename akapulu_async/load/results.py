"""The measurements of a load test, as plain values. Times are seconds since the start, unless stated otherwise."""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import attrs
from hdrh.histogram import HdrHistogram

from akapulu_async import ConnectOutcomeUnknownError, EndReason, SessionState

LOWEST, HIGHEST, DIGITS = 1, 7_200_000_000, 3
"""Range of the histograms in microseconds, up to two hours, and their significant digits."""

MOST_STEPS = 1_000
"""Most different values among the measurements that one long lag delayed; an hour of lag delayed 360,000 of them."""

MOST_LAG = 0.05
"""Seconds of lag of the event loop or the arrivals (p99) above which the figures are doubtful."""

MOST_CPU = 0.9
"""Share of a core above which the load generator is near its limit: one event loop uses one core."""

_REMEDY = "leave it a core to itself, run fewer conversations per process, or use a longer --poll-interval"


class Latencies:
    """Durations in an HDR histogram: quantiles with three significant digits in bounded memory."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        self._sum = self._highest = 0

    @property
    def count(self) -> int:
        """How many were added."""
        return int(self._histogram.get_total_count())

    def add(self, seconds: float, *, every: float | None = None) -> None:
        """Add a duration; one outside of the range counts as the nearest end of the range.

        Args:
            seconds: The duration.
            every: The usual interval of measurements, in seconds, if this duration delayed the next ones: those that
                were missed are added too. None: nothing was delayed.
        """
        self._record(seconds)
        missed = 0 if every is None else math.floor(seconds / every) - 1
        steps = min(missed, MOST_STEPS)
        for step in range(steps):
            first, end = step * missed // steps, (step + 1) * missed // steps
            # The middle of those that share a step.
            self._record(seconds - (every or 0.0) * (first + 1 + end) / 2, end - first)

    def _record(self, seconds: float, count: int = 1) -> None:
        value = min(max(round(seconds * 1e6), LOWEST), HIGHEST)
        self._histogram.record_value(value, count)
        self._sum += value * count
        self._highest = max(self._highest, value)

    def at(self, share: float) -> float | None:
        """Return the quantile for a share from 0 to 1, in seconds; None if nothing was added."""
        if not self.count:
            return None
        # The histogram would round the rank to the nearest, which gives another share.
        rank = max(1, math.ceil(round(share * self.count, 6)))
        # It returns the upper bound of a bucket, which may lie above the highest value.
        value = min(self._histogram.get_value_at_percentile(100 * rank / self.count), self._highest)
        return float(value) / 1e6

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None if nothing was added."""
        return self._sum / self.count / 1e6 if self.count else None

    @property
    def highest(self) -> float | None:
        """The longest in seconds; None if nothing was added."""
        return self._highest / 1e6 if self.count else None


@attrs.frozen(kw_only=True)
class Attempt:
    """One conversation of a load test, after its end."""

    index: int
    """Its number, from 0, in the order of arrival."""

    due: float
    """When it should have started: by the schedule, or in a closed loop when a place became free. Latencies count from
    here, so a load generator or an account that falls behind cannot hide it."""

    began: float | None = None
    """When the connect that succeeded was sent; None if none succeeded."""

    session_id: str | None = None
    """The conversation; None if no connect succeeded."""

    connected: float | None = None
    """When its connect succeeded."""

    room_joined: float | None = None
    """When it entered this state."""

    ready: float | None = None
    """When the session reported that the bot is ready."""

    ended: float | None = None
    """When it ended."""

    end_reason: EndReason | None = None
    """Why it ended; None if it never began."""

    failure: str | None = None
    """The cause of failure, such as `ready_timeout` or `ServerError 503`; None if it succeeded or was interrupted."""

    polls: int = 0
    """Polls completed, successful or not."""

    retries: int = 0
    """Calls that were sent again."""

    poll_errors: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """Failed polls by HTTP status, or by kind of error where there was no answer or an unusable one."""

    @property
    def outcome(self) -> str:
        """`failed`, `ready`, or `interrupted` if the test was stopped before the bot was ready."""
        return "failed" if self.failure is not None else "interrupted" if self.ready is None else "ready"

    @property
    def connect_latency(self) -> float | None:
        """Seconds from due to connected."""
        return None if self.connected is None else self.connected - self.due

    @property
    def time_to_ready(self) -> float | None:
        """Seconds from due to ready."""
        return None if self.ready is None else self.ready - self.due


@attrs.frozen(kw_only=True)
class Sample:
    """The test at one moment."""

    at: float
    states: Mapping[SessionState, int] = attrs.field(hash=False)
    """Sessions in each state but `ended`."""

    waiting: int
    """Conversations that are due and wait for a place or for their connect's turn."""

    connects: int
    """Successful connects so far."""

    polls: int
    """Polls completed so far."""

    failed_polls: int
    """Those of them that failed."""

    loop_lag: float
    """The event loop's longest lag since the last sample, in seconds."""


@attrs.frozen(kw_only=True)
class LoadResult:
    """A whole load test."""

    title: str
    """The test in one line, such as `2,000 conversations, 500 at once`."""

    settings: Mapping[str, str] = attrs.field(hash=False)
    """The settings for people, as names and values, without secrets."""

    started_at: datetime
    """The start, in UTC."""

    seconds: float
    """Its duration."""

    attempts: tuple[Attempt, ...]
    """All conversations, in the order of arrival."""

    samples: tuple[Sample, ...]
    """About one per second."""

    connect: Latencies
    """Seconds from due to connected, of all that were connected."""

    ready: Latencies
    """Seconds from due to ready, of all that became ready."""

    loop_lag: Latencies
    """The event loop's lag, sampled during the whole test."""

    failures: Mapping[str, int] = attrs.field(hash=False)
    """Failed attempts by cause."""

    polls: int = 0
    """Polls completed, successful or not."""

    retries: int = 0
    """Calls that were sent again."""

    poll_errors: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """Failed polls as in `Attempt.poll_errors`."""

    rate: float | None = None
    """Conversations due per second (open loop only)."""

    simulator_speed: float | None = None
    """Simulated seconds per real second; None if it was not a simulator that the command started."""

    arrival_lag: Latencies = attrs.field(factory=Latencies)
    """How late this program started conversations that were due (open loop only)."""

    resolution: float | None = None
    """Seconds by which polling may see readiness late, half of that on average; None if unknown."""

    cpu_share: float | None = None
    """Share of a core that this program used; None if unknown."""

    interrupted: bool = False
    """True if the test was stopped early."""

    warnings: tuple[str, ...] = ()
    """Sentences on what makes the figures doubtful, and the library's warnings."""

    @property
    def cut_short(self) -> int:
        """Conversations that were interrupted before their bots were ready."""
        return sum(attempt.outcome == "interrupted" for attempt in self.attempts)

    @property
    def unknown_connects(self) -> int:
        """Failed connects that may have made a conversation."""
        name = ConnectOutcomeUnknownError.__name__
        return sum(count for cause, count in self.failures.items() if cause.startswith(name))

    @property
    def simulated(self) -> str:
        """A sentence that says so if it was a simulator, else empty."""
        if self.simulator_speed is None:
            return ""
        return f"A simulator at {self.simulator_speed:g} times real speed; the figures say nothing about Akapulu."


def ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return causes and their counts, most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def doubts(result: LoadResult) -> Iterator[str]:
    """Yield the reasons to doubt the figures, in a sentence or two each."""
    if result.interrupted:
        cut_short = result.cut_short
        yield (
            f"The test was interrupted. {cut_short:,} {'conversation was' if cut_short == 1 else 'conversations were'} "
            "not ready by then, which counts neither as ready nor as failed."
        )
    if unknown := result.unknown_connects:
        yield (
            f"The outcome of {unknown:,} {'connect' if unknown == 1 else 'connects'} is unknown: each may have made a "
            "conversation that holds a slot and uses minutes."
        )
    lag = result.loop_lag.at(0.99)
    if lag is not None and lag > MOST_LAG:
        yield (
            f"The load generator was the bottleneck: its event loop was up to {lag:.3f} s late (p99), "
            f"so latencies may be too long by as much; {_REMEDY}."
        )
    late = result.arrival_lag.at(0.99)
    if late is not None and late > MOST_LAG:
        yield (
            f"The load generator did not keep its schedule: arrivals were up to {late:.3f} s late (p99), "
            f"which the latencies include; {_REMEDY}, or a lower --rate."
        )
    if result.cpu_share is not None and result.cpu_share > MOST_CPU:
        yield f"The load generator used {result.cpu_share:.0%} of a core, nearly all it can use; {_REMEDY}."


COLUMNS = (*(field.name for field in attrs.fields(Attempt)), "outcome", "connect_latency", "time_to_ready")
"""The columns of the CSV file, named like the attributes of `Attempt`. None becomes an empty cell."""


def write_csv(result: LoadResult, path: Path) -> None:
    """Write one row per attempt below a header row; raises `OSError`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_cell(getattr(attempt, name)) for name in COLUMNS] for attempt in result.attempts)


def _cell(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} x {count}" for name, count in value.items())
    return f"{value:.6f}" if isinstance(value, float) else value
