"""From many figures to few: nothing is lost on the way, and nothing invented."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.load.series import Bar, Spread, bin_up, nice_step, peaks, quantile, roll, thin

FIGURES = st.lists(st.floats(0, 1e4), min_size=1, max_size=60)
POINTS = st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100)), min_size=1, max_size=60).map(sorted)


@pytest.mark.parametrize(
    ("span", "most", "step"), [(10, 10, 1), (11, 10, 2), (23, 10, 2.5), (0.9, 40, 0.025), (7000, 20, 500), (99, 10, 10)]
)
def test_nice_step(span: float, most: int, step: float) -> None:
    """A step is a round one, the smallest that covers the span."""
    assert nice_step(span, most) == pytest.approx(step)


@given(st.floats(1e-6, 1e9), st.integers(1, 100))
def test_nice_step_covers(span: float, most: int) -> None:
    """So many steps always cover the span, and never more than two and a half times."""
    step = nice_step(span, most)
    assert span <= step * most <= 2.5 * span * (1 + 1e-9)


def test_bin_up() -> None:
    """Figures are counted in round intervals, and those beyond the end apart."""
    bins = bin_up([1.0, 1.2, 1.9, 2.5, 2.6, 7.0], 3.0, 2)
    assert (bins.width, bins.edges, bins.counts, bins.beyond) == (1, (1, 2, 3, 4), (3, 2, 0), 1)


@given(FIGURES, st.floats(0, 1), st.integers(1, 60))
def test_bins_lose_nothing(values: list[float], share: float, most: int) -> None:
    """Each figure is counted once: in the interval that it lies in, or beyond the end."""
    end = min(values) + share * (max(values) - min(values))
    bins = bin_up(values, end, most)
    assert sum(bins.counts) + bins.beyond == len(values)
    assert bins.beyond == sum(value > end for value in values)
    assert len(bins.counts) <= most + 2
    assert bins.edges[0] <= min(values) * (1 + 1e-9)
    assert bins.edges[-1] >= end * (1 - 1e-9)


def test_few_figures_have_wide_bins() -> None:
    """Few figures are not scattered over many intervals, and figures that hardly differ look so."""
    assert len(bin_up([1.0, 1.5, 2.0], 2.0, 40).counts) <= 9
    assert len(bin_up([5.0 + number * 1e-6 for number in range(1000)], 5.001, 40).counts) == 1


@given(FIGURES, st.floats(0.01, 1))
def test_quantile(values: list[float], share: float) -> None:
    """A quantile is one of the figures, and the lowest below or at which the share lies."""
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-9


@given(POINTS)
def test_roll_is_as_by_hand(points: list[tuple[float, float]]) -> None:
    """Each rolling quantile is that of the figures in its window, and none where they are too few."""
    rolling = roll(points, [0.5, 0.95])
    assert len(rolling.at) <= 81
    assert rolling.at[0] == points[0][0]
    for number, middle in enumerate(rolling.at):
        low, high = middle - rolling.window / 2, middle + rolling.window / 2
        within = sorted(value for time, value in points if low <= time < high)
        expected = [
            within[math.ceil(share * len(within)) - 1] if len(within) >= least else None
            for share, least in ((0.5, 2), (0.95, 20))
        ]
        assert [line[number] for line in rolling.quantiles] == expected


@pytest.mark.parametrize(("count", "window"), [(10, 5), (200, 2), (4000, 0.5)])
def test_windows_hold_enough(count: int, window: float) -> None:
    """The fewer figures there are, the longer are the windows, so that the lines have no gaps."""
    rolling = roll([(10 * number / count, 1.0) for number in range(count)], [0.5])
    assert rolling.window == pytest.approx(window)
    assert None not in rolling.quantiles[0]


def test_roll_of_a_burst() -> None:
    """Of figures that are all of one moment, there is one quantile."""
    rolling = roll([(3.0, float(number)) for number in range(100)], [0.5, 0.95])
    assert (rolling.at, rolling.quantiles) == ((3.0,), ((49.0,), (94.0,)))


@given(st.lists(st.integers()), st.integers(1, 20))
def test_thin(items: list[int], most: int) -> None:
    """At most so many stay, in their order, evenly chosen; all, if they are not more."""
    numbered = list(enumerate(items))
    thinned = thin(numbered, most)
    assert len(thinned) == min(most, len(items))
    gaps = [after[0] - before[0] for before, after in pairwise(thinned)]
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


@given(st.lists(st.integers()), st.integers(1, 20))
def test_peaks(items: list[int], most: int) -> None:
    """At most so many stay, the highest among them."""
    highest = peaks(items, lambda item: item, most)
    assert len(highest) <= most
    assert (max(highest) if highest else None) == (max(items) if items else None)


def spread(*values: float) -> Spread:
    made = Spread()
    for value in values:
        made.add(value)
    return made


def test_nothing_has_no_bars() -> None:
    """Without figures there are no bars."""
    assert spread().bars(10) == []


def test_bars_have_round_bounds() -> None:
    """Bars are of one round width, and those between are there though they are empty."""
    assert spread(10.1, 10.9, 11, 13.5).bars(4) == [Bar(10, 11, 2), Bar(11, 12, 1), Bar(12, 13, 0), Bar(13, 14, 1)]


def test_equal_figures_make_one_bar() -> None:
    """Figures that are all alike are in one bar, around them."""
    (bar,) = spread(2.5, 2.5, 2.5).bars(8)
    assert bar.count == 3
    assert bar.low <= 2.5 < bar.high


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200), st.integers(2, 20))
def test_every_figure_is_in_a_bar(values: Any, most: Any) -> None:
    """There are so many bars at the most, one behind the other, from the lowest to the highest, with all figures."""
    bars = spread(*values).bars(most)
    assert 1 <= len(bars) <= most
    assert sum(bar.count for bar in bars) == len(values)
    assert all(before.high == pytest.approx(after.low) for before, after in pairwise(bars))
    assert bars[0].count
    assert bars[-1].count


def test_memory_does_not_grow_with_the_figures() -> None:
    """Ten thousand figures of one range are kept as a few hundred."""
    made = spread(*(10 + number / 10_000 for number in range(10_000)))
    assert len(made._counts) < 200
    assert sum(bar.count for bar in made.bars(10)) == 10_000
