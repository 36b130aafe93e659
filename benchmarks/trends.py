"""Whether a figure that was sampled grows, or only wavers. Pure.

The slope is Theil and Sen's: the median of the slopes between all pairs of samples, which outliers do not move. How
sure it is follows from Kendall's tau: of the sorted slopes, those so far from the middle that the true one lies between
them in 99 of 100 cases. What counts is the lower of these, so that noise is not taken for growth. Neighbouring samples
are not independent, so a figure besides has an allowance: growth that is too small to tell anything by.
"""

import math
import statistics
from collections.abc import Iterable, Sequence

import attrs

SURE = 2.58
"""Standard deviations within which 99 of 100 normally distributed values lie."""

FEWEST = 8
"""Samples without which nothing can be said."""


@attrs.frozen
class Trend:
    """How a figure runs through its samples, a second."""

    slope: float
    lowest: float
    """The least that the slope may be, if it is not one of a hundred cases."""

    start: float
    """Where the line of this slope begins, at the first sample."""


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Return how values run through times, which rise.

    Raises:
        ValueError: There are too few samples to say anything.
    """
    count = len(times)
    if count < FEWEST:
        raise ValueError(f"{count} samples are too few, {FEWEST} are needed")
    pairs = ((first, second) for first in range(count) for second in range(first + 1, count))
    slopes = sorted((values[second] - values[first]) / (times[second] - times[first]) for first, second in pairs)
    spread = SURE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    slope = statistics.median(slopes)
    lowest = slopes[max(0, math.floor((len(slopes) - spread) / 2))]
    start = statistics.median(value - slope * (time - times[0]) for time, value in zip(times, values, strict=True))
    return Trend(slope, lowest, start)


@attrs.frozen
class Allowance:
    """Growth that is borne."""

    once: float
    """However long it was looked at: what an allocator, a cache, a table of the interpreter takes in steps."""

    each: float
    """And for each session that was over meanwhile; less than any leak of a session's own."""


@attrs.frozen
class Verdict:
    """What is to be said of a figure."""

    name: str
    trend: Trend
    seconds: float
    """How long it was looked at."""

    bound: float
    """Growth that is borne in that time."""

    @property
    def growth(self) -> float:
        """By how much it grew, as the slope says."""
        return self.trend.slope * self.seconds

    @property
    def sure(self) -> float:
        """By how much it grew at the least."""
        return self.trend.lowest * self.seconds

    @property
    def passed(self) -> bool:
        """Whether what it surely grew by is borne."""
        return self.sure <= self.bound


def judge(name: str, times: Sequence[float], values: Sequence[float], allowance: Allowance, sessions: int) -> Verdict:
    """Return what is to be said of a figure, given how many sessions were over while it was sampled."""
    return Verdict(name, trend(times, values), times[-1] - times[0], allowance.once + allowance.each * sessions)


def growers(verdicts: Iterable[Verdict], count: int) -> list[Verdict]:
    """Return those that grew most, beginning with the one that grew most."""
    return sorted(verdicts, key=lambda verdict: verdict.growth, reverse=True)[:count]
