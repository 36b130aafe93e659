"""How figures are spread, in a few bars."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akapulu_async.load.spread import Bar, Spread


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
