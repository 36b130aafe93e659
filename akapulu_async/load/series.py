"""Reduces many figures to as many as a chart can show: bins, rolling quantiles, samples. Pure."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

Item = TypeVar("Item")

ENOUGH, MOST_WINDOWS, MOST_STEPS = 40, 20, 80
"""Rolling quantiles: figures per window; most windows side by side, and most steps in total."""

SPREAD_DIGITS = 3
"""Significant digits that a `Spread` keeps, so that its memory is bounded."""


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten of which at most `most` cover the span (above 0)."""
    exponent = math.floor(math.log10(span / most))
    steps = (factor * 10.0**power for power in (exponent, exponent + 1) for factor in (1, 2, 2.5, 5))
    return next(step for step in steps if step * most >= span)


@attrs.frozen
class Bins:
    """Counts of figures in a row of equal intervals."""

    width: float
    first: int
    """The first interval begins at this multiple of the width."""

    counts: tuple[int, ...]
    beyond: int = 0
    """Figures above the last interval."""

    @property
    def edges(self) -> tuple[float, ...]:
        """The bounds of the intervals, one more than intervals."""
        return tuple((self.first + number) * self.width for number in range(len(self.counts) + 1))


def bin_up(values: Sequence[float], end: float, most: int) -> Bins:
    """Count figures (at least one) in intervals from the lowest to `end`, which must not be below it.

    There are about `most` intervals, fewer for few figures.
    """
    lowest = min(values)
    # Figures that hardly differ share a bin.
    width = nice_step(max(end - lowest, end / 10, 1e-6), min(most, 4 + math.isqrt(4 * len(values))))
    first = math.floor(lowest / width)
    counts = [0] * (math.floor(end / width) - first + 1)
    beyond = 0
    for value in values:
        if value > end:
            beyond += 1
        else:
            counts[math.floor(value / width) - first] += 1
    return Bins(width, first, tuple(counts), beyond)


class Spread:
    """Counts figures from 0 up, in bounded memory, for a live histogram."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, value: float) -> None:
        """Count a figure."""
        self._counts[float(f"{value:.{SPREAD_DIGITS - 1}e}")] += 1

    def at(self, share: float) -> float | None:
        """Return the quantile for a share above 0, up to 1; None if there are no figures."""
        rank, seen = math.ceil(round(share * self._counts.total(), 6)), 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= rank:
                return value
        return None

    def bins(self, most: int) -> Bins | None:
        """Return at most `most` (2 or more) bins from the lowest to the highest figure; None if there are none."""
        if not self._counts:
            return None
        low, high = min(self._counts), max(self._counts)
        width = nice_step(max(high - low, high / 1000, 1e-9), most - 1)
        first = math.floor(low / width)
        counts = [0] * (math.floor(high / width) - first + 1)
        for value, count in self._counts.items():
            counts[math.floor(value / width) - first] += count
        return Bins(width, first, tuple(counts))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of ordered figures for a share above 0, up to 1."""
    return ordered[math.ceil(share * len(ordered)) - 1]


@attrs.frozen
class Rolling:
    """Quantiles in a window that moves over time."""

    window: float
    """Length of the window in seconds."""

    at: tuple[float, ...]
    """The middles of the windows."""

    quantiles: tuple[tuple[float | None, ...], ...]
    """For each share: the quantile in each window; None where there are too few figures."""


def roll(points: Sequence[tuple[float, float]], shares: Sequence[float]) -> Rolling:
    """Return rolling quantiles of pairs of time and figure, at least one, ordered by time.

    Windows are long enough to hold `ENOUGH` figures each, if those come evenly. A quantile needs at least one figure
    above it: two figures for the median, twenty for the 95th percentile.
    """
    most = min(max(len(points) // ENOUGH, 2), MOST_WINDOWS)
    steps = MOST_STEPS // most
    times = [time for time, _ in points]
    window = nice_step(max(times[-1] - times[0], 1e-3), most)
    count = math.ceil((times[-1] - times[0]) / window * steps) + 1
    middles = tuple(times[0] + number * window / steps for number in range(count))
    columns = []
    for middle in middles:
        within = slice(bisect_left(times, middle - window / 2), bisect_left(times, middle + window / 2))
        ordered = sorted(figure for _, figure in points[within])
        columns.append([quantile(ordered, share) if _enough(share, len(ordered)) else None for share in shares])
    return Rolling(window, middles, tuple(zip(*columns, strict=True)))


def _enough(share: float, count: int) -> bool:
    return round(count * (1 - share), 6) >= 1


def thin(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Return at most `most` of the items, evenly chosen."""
    count = len(items)
    return items if count <= most else [items[number * count // most] for number in range(most)]


def peaks(items: Sequence[Item], key: Callable[[Item], float], most: int) -> Sequence[Item]:
    """Return the highest item of each of at most `most` equal runs of items."""
    size = math.ceil(len(items) / most)
    return [max(items[start : start + size], key=key) for start in range(0, len(items), size)] if size else []
