"""Many figures are reduced to few: none is lost, none is invented."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.load.series import Bins, Spread, bin_up, nice_step, peaks, quantile, roll, thin

FIGURES = st.lists(st.floats(0, 1e4), min_size=1, max_size=60)
POINTS = st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100)), min_size=1, max_size=60).map(sorted)


@pytest.mark.parametrize(
    ("span", "most", "step"), [(10, 10, 1), (11, 10, 2), (23, 10, 2.5), (0.9, 40, 0.025), (7000, 20, 500), (99, 10, 10)]
)
def test_nice_step(span: float, most: int, step: float) -> None:
    """The step is the smallest round one that covers the span."""
    assert nice_step(span, most) == pytest.approx(step)


@given(st.floats(1e-6, 1e9), st.integers(1, 100))
def test_nice_step_covers(span: float, most: int) -> None:
    """The steps always cover the span, and never more than two and a half times."""
    step = nice_step(span, most)
    assert span <= step * most <= 2.5 * span * (1 + 1e-9)


def test_bin_up() -> None:
    """Figures are counted in round intervals, and those beyond the end separately."""
    bins = bin_up([1.0, 1.2, 1.9, 2.5, 2.6, 7.0], 3.0, 2)
    assert (bins.width, bins.edges, bins.counts, bins.beyond) == (1, (1, 2, 3, 4), (3, 2, 0), 1)


@given(FIGURES, st.floats(0, 1), st.integers(1, 60))
def test_bins_lose_nothing(values: list[float], share: float, most: int) -> None:
    """Each figure is counted once: in its interval, or beyond the end."""
    end = min(values) + share * (max(values) - min(values))
    bins = bin_up(values, end, most)
    assert sum(bins.counts) + bins.beyond == len(values)
    assert bins.beyond == sum(value > end for value in values)
    assert len(bins.counts) <= most + 2
    assert bins.edges[0] <= min(values) * (1 + 1e-9)
    assert bins.edges[-1] >= end * (1 - 1e-9)


def test_few_figures_have_wide_bins() -> None:
    """Few figures are not scattered over many intervals, and figures that hardly differ share one."""
    assert len(bin_up([1.0, 1.5, 2.0], 2.0, 40).counts) <= 9
    assert len(bin_up([5.0 + number * 1e-6 for number in range(1000)], 5.001, 40).counts) == 1


@given(FIGURES, st.floats(0.01, 1))
def test_quantile(values: list[float], share: float) -> None:
    """A quantile is the lowest figure with the share at or below it."""
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-9


@given(POINTS)
def test_roll_is_as_by_hand(points: list[tuple[float, float]]) -> None:
    """Each rolling quantile is that of the figures in its window, and None where there are too few."""
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
    """Fewer figures make longer windows, so that lines have no gaps."""
    rolling = roll([(10 * number / count, 1.0) for number in range(count)], [0.5])
    assert rolling.window == pytest.approx(window)
    assert None not in rolling.quantiles[0]


def test_roll_of_a_burst() -> None:
    """Figures of one moment have one quantile."""
    rolling = roll([(3.0, float(number)) for number in range(100)], [0.5, 0.95])
    assert (rolling.at, rolling.quantiles) == ((3.0,), ((49.0,), (94.0,)))


@given(st.lists(st.integers()), st.integers(1, 20))
def test_thin(items: list[int], most: int) -> None:
    """Thinning keeps at most `most` items, in order and evenly chosen, or all if there are no more."""
    numbered = list(enumerate(items))
    thinned = thin(numbered, most)
    assert len(thinned) == min(most, len(items))
    gaps = [after[0] - before[0] for before, after in pairwise(thinned)]
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


@given(st.lists(st.integers()), st.integers(1, 20))
def test_peaks(items: list[int], most: int) -> None:
    """Peaks keeps at most `most` items, the highest among them."""
    highest = peaks(items, lambda item: item, most)
    assert len(highest) <= most
    assert (max(highest) if highest else None) == (max(items) if items else None)


def spread(*values: float) -> Spread:
    made = Spread()
    for value in values:
        made.add(value)
    return made


def test_an_empty_spread() -> None:
    """Without figures there are no bins and no quantiles."""
    assert spread().bins(10) is None
    assert spread().at(0.5) is None


@given(st.lists(st.floats(0.001, 1e4), min_size=1), st.floats(0.01, 1))
def test_quantiles_of_a_spread_are_near(values: list[float], share: float) -> None:
    """A quantile of a spread is that of the figures, to three digits."""
    exact = quantile(sorted(values), round(share * len(values), 6) / len(values))
    assert spread(*values).at(share) == pytest.approx(exact, rel=5e-3)


def test_bins_of_a_spread_are_round() -> None:
    """Bins have one round width, and empty ones in between are kept."""
    assert spread(10.1, 10.9, 11, 13.5).bins(5) == Bins(1, 10, (2, 1, 0, 1))


def test_equal_figures_share_a_bin() -> None:
    """Equal figures are in one bin around them."""
    bins = spread(2.5, 2.5, 2.5).bins(8)
    assert bins is not None
    assert bins.counts == (3,)
    assert bins.edges[0] <= 2.5 < bins.edges[1]


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200), st.integers(2, 20))
def test_a_spread_loses_nothing(values: list[float], most: int) -> None:
    """There are at most as many bins as asked for, from the lowest to the highest figure, with all figures."""
    bins = spread(*values).bins(most)
    assert bins is not None
    assert 1 <= len(bins.counts) <= most
    assert sum(bins.counts) == len(values)
    assert bins.counts[0]
    assert bins.counts[-1]


def test_the_memory_of_a_spread_is_bounded() -> None:
    """Ten thousand figures of one range are kept as a few hundred."""
    made = spread(*(10 + number / 10_000 for number in range(10_000)))
    assert len(made._counts) < 200
    bins = made.bins(10)
    assert bins is not None
    assert sum(bins.counts) == 10_000
