"""From many figures to as few as a chart can show: bins, rolling quantiles, and fair choices. Pure."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

Item = TypeVar("Item")

ENOUGH, MOST_WINDOWS, MOST_STEPS = 40, 20, 80
"""Of rolling quantiles: figures that a window is to hold; windows side by side, and in all, at most."""


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 and their tens and tenths of which so many cover the span (above 0)."""
    exponent = math.floor(math.log10(span / most))
    steps = (factor * 10.0**power for power in (exponent, exponent + 1) for factor in (1, 2, 2.5, 5))
    return next(step for step in steps if step * most >= span)


@attrs.frozen
class Bins:
    """How many figures lie in each of a row of equal intervals."""

    width: float
    first: int
    """The first interval begins at so many widths."""

    counts: tuple[int, ...]
    beyond: int
    """How many lie above the last interval."""

    @property
    def edges(self) -> tuple[float, ...]:
        """The bounds of the intervals: one more than there are of those."""
        return tuple((self.first + number) * self.width for number in range(len(self.counts) + 1))


def bin_up(values: Sequence[float], end: float, most: int) -> Bins:
    """Count figures (at least one) in intervals from the lowest to `end`, which is not below it.

    There are about so many intervals at most, and fewer for few figures.
    """
    lowest = min(values)
    # Figures that hardly differ look so.
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


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the one of the ordered figures below or at which this share (above 0, to 1) of all lies."""
    return ordered[math.ceil(share * len(ordered)) - 1]


@attrs.frozen
class Rolling:
    """Quantiles in a window that moves over time."""

    window: float
    """Its seconds."""

    at: tuple[float, ...]
    """The middles of the windows."""

    quantiles: tuple[tuple[float | None, ...], ...]
    """For each share that was asked for: the quantile in each window; None where too few figures lie."""


def roll(points: Sequence[tuple[float, float]], shares: Sequence[float]) -> Rolling:
    """Return the quantiles of figures over time: of at least one pair of time and figure, in the order of time.

    Windows are long enough to hold `ENOUGH` figures each, if those come evenly. A quantile is told only where one
    figure or more may lie above it: of two for the half, of twenty for 95 per cent.
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
        columns.append([quantile(ordered, share) if _tells(share, len(ordered)) else None for share in shares])
    return Rolling(window, middles, tuple(zip(*columns, strict=True)))


def _tells(share: float, count: int) -> bool:
    return round(count * (1 - share), 6) >= 1


def thin(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Return at most so many of the items, evenly chosen."""
    count = len(items)
    return items if count <= most else [items[number * count // most] for number in range(most)]


def peaks(items: Sequence[Item], key: Callable[[Item], float], most: int) -> Sequence[Item]:
    """Return the highest item of each of at most so many equal runs of items."""
    size = math.ceil(len(items) / most)
    return [max(items[start : start + size], key=key) for start in range(0, len(items), size)] if size else []


DIGITS = 3
"""Significant digits that are kept of each figure, so that memory and work do not grow with their number."""


@attrs.frozen
class Bar:
    """How many figures lie between two bounds."""

    low: float
    """The figure itself lies in."""

    high: float
    """The figure itself lies outside."""

    count: int


class Spread:
    """Figures of 0 and more, counted."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, value: float) -> None:
        """Count one."""
        self._counts[float(f"{value:.{DIGITS - 1}e}")] += 1

    def bars(self, most: int) -> list[Bar]:
        """Return bars of one round width from the lowest to the highest figure, so many at the most, 2 or more."""
        if not self._counts:
            return []
        counts = dict(self._counts)  # a copy in one step: the caller may be another thread than who adds
        low, high = min(counts), max(counts)
        width = _round_width(low, high, most)
        first = math.floor(low / width)
        last = math.floor(high / width)
        heights: Counter[int] = Counter()
        for value, count in counts.items():
            heights[math.floor(value / width)] += count
        return [Bar(place * width, (place + 1) * width, heights[place]) for place in range(first, last + 1)]


def _round_width(low: float, high: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... times a power of ten with which so many bars reach from low to high."""
    scale = 10.0 ** math.floor(math.log10(max((high - low) / most, high / 1000, 1e-9)))
    widths = (scale * factor for factor in (1, 2, 5, 10, 20, 50))
    return next(width for width in widths if math.floor(high / width) - math.floor(low / width) < most)
