"""How figures are spread, for a live view: a few bars with round bounds, however many figures. Pure."""

import math
from collections import Counter

import attrs

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
