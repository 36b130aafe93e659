"""Decide whether a sampled figure grows or only fluctuates. Pure.

The slope is the Theil-Sen estimate: the median of the slopes between all pairs of samples, which outliers hardly
change. Its 99 % confidence interval follows from Kendall's tau. The lower end counts, so that noise is not taken for
growth. As neighbouring samples are not independent, each figure also has an allowance for insignificant growth.
"""

import math
import statistics
from collections.abc import Iterable, Sequence

import attrs

SURE = 2.58
"""Standard deviations within which 99 of 100 normally distributed values lie."""

FEWEST = 8
"""Least number of samples."""


@attrs.frozen
class Trend:
    """The trend of a figure, per second."""

    slope: float
    lowest: float
    """Lower end of the slope's 99 % confidence interval."""

    start: float
    """Value of the line at the first sample."""


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
    """Growth that passes."""

    once: float
    """For any duration: steps of allocators, caches and tables of the interpreter."""

    each: float
    """For each session that ended meanwhile; less than a leak of one object per session."""


@attrs.frozen
class Verdict:
    """The judgement of a figure."""

    name: str
    trend: Trend
    seconds: float
    """Duration of the samples."""

    bound: float
    """Growth that passes in that time."""

    @property
    def growth(self) -> float:
        """Growth according to the slope."""
        return self.trend.slope * self.seconds

    @property
    def sure(self) -> float:
        """Least growth, within the confidence interval."""
        return self.trend.lowest * self.seconds

    @property
    def passed(self) -> bool:
        """True if the least growth is within the bound."""
        return self.sure <= self.bound


def judge(name: str, times: Sequence[float], values: Sequence[float], allowance: Allowance, sessions: int) -> Verdict:
    """Judge a figure, given the number of sessions that ended while it was sampled."""
    return Verdict(name, trend(times, values), times[-1] - times[0], allowance.once + allowance.each * sessions)


def growers(verdicts: Iterable[Verdict], count: int) -> list[Verdict]:
    """Return the figures that grew most, the fastest first."""
    return sorted(verdicts, key=lambda verdict: verdict.growth, reverse=True)[:count]
